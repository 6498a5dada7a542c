"""Timings of lstm_lab and of other libraries: layers, models, populations, costs, whole trials.

In: a suite and a choice of cases, or a study of trials. Out: JSON of all times, Markdown tables,
and a page with a chart. Start with `cases.py` (what is timed) and `run.py` (how);
docs/benchmarks.md has the results.
"""
