"""Where the numbers of a run go while it trains. Read `base.py` first."""
