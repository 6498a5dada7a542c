"""A study's folder as data: its plan, the status of each run, and the leases on its cohorts.

`sweep` writes the folder and `report` reads it; what both need is here. Imports no JAX, so that
reports and `lstm-lab status` start fast and run on machines without it.
"""
