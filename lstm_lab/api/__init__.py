"""What a notebook uses: train, sweep, compare, and the results that they return.

`training.py` has the calls, `runs.py` and `studies.py` have their results, `cells.py` has single
cells. The command line (`cli/`) calls the same functions. `lstm_lab/__init__.py` offers all names
lazily, so `import lstm_lab as ll` takes milliseconds.
"""
