"""One step over time: lengths, resets, direction, and the backends that compute it."""

from lstm_lab.recurrence.choice import BACKENDS, Backend, Call, choose, refusal, resolve
from lstm_lab.recurrence.unroll import EVERYTHING, unroll

__all__ = ["BACKENDS", "EVERYTHING", "Backend", "Call", "choose", "refusal", "resolve", "unroll"]
