"""Runs a cell over time: lengths, resets, direction, and the backends that compute it."""

from lstm_lab.recurrence.device import DeviceType, device_type, own_device_type
from lstm_lab.recurrence.dispatch import (
    BACKENDS,
    MEMBERS,
    Backend,
    CallSignature,
    batched_members,
    choose,
    resolve,
    unsupported_reason,
)
from lstm_lab.recurrence.steps import EVERYTHING, Unrolled
from lstm_lab.recurrence.unroll import unroll

__all__ = [
    "BACKENDS",
    "EVERYTHING",
    "MEMBERS",
    "Backend",
    "CallSignature",
    "DeviceType",
    "Unrolled",
    "batched_members",
    "choose",
    "device_type",
    "own_device_type",
    "resolve",
    "unroll",
    "unsupported_reason",
]
