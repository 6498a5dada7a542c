"""What a trained recurrent network does: `lstm-lab explain`.

In: a finished run and its data. Out: a page with one section per analysis. `network.py` turns the
model into a map from one state to the next; each analysis is a file of pure functions on that map,
with its equation and its source; `analyses.py` runs them, and `page.py` writes what they found.
"""
