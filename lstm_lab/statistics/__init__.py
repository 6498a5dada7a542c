"""Statistics of scores: estimates, tests, posteriors. Numbers in, numbers out; no folders, no JAX.

Reports show them, and studies decide with them how many seeds a comparison needs; so they lie below
both. Read `hypotheses` first.
"""
