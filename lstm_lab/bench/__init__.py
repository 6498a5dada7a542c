"""Timings of lstm_lab and of other libraries: layers, training steps, populations, whole trials.

In: a suite, or a study of trials. Out: JSON of all times, and Markdown tables. Start with
`cases.py` (what is timed) and `run.py` (how); docs/benchmarks.md has the results.
"""
