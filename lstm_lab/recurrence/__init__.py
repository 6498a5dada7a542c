"""One step over time: lengths, resets, direction, and the backends that compute it."""

from lstm_lab.recurrence.unroll import BACKENDS, choose, refusal, unroll

__all__ = ["BACKENDS", "choose", "refusal", "unroll"]
