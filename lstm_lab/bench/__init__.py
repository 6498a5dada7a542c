"""Timings of lstm_lab and of other libraries: layers, training steps, populations, whole trials.

Start with `cases.py` (what is timed) and `run.py` (how); docs/benchmarks.md has the results.
"""
