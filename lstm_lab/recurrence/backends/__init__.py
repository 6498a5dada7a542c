"""The backends: each computes the same recurrence in another way, behind `unroll`."""
