"""One step over time: lengths, resets, direction, and the backends that compute it."""

from lstm_lab.recurrence.dispatch import (
    BACKENDS,
    MEMBERS,
    Backend,
    Call,
    batched_members,
    choose,
    refusal,
    resolve,
)
from lstm_lab.recurrence.unroll import EVERYTHING, unroll

__all__ = [
    "BACKENDS",
    "EVERYTHING",
    "MEMBERS",
    "Backend",
    "Call",
    "batched_members",
    "choose",
    "refusal",
    "resolve",
    "unroll",
]
