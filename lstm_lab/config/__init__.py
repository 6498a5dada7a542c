"""What defines a run: its settings, their sources, their checks, and the ids of runs.

In: a config file, a run.json, and flags of the command line. Out: a frozen `RunSpec`. Read
`sections` first (the settings), then `parsing` (from a mapping to a spec) and `ids`.
"""
