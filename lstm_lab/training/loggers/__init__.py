"""Loggers: they receive the numbers of a run while it trains. Read `base.py` first."""
