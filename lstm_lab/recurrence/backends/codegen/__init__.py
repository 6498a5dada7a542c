"""Kernels from equations: a cell's time step, traced by JAX, as C++ for the native backend.

Read in this order: flat.py (a step and its derivative as one flat program), graph.py (the program
as vectors of units), schedule.py (passes over the units), emit.py (the text).
"""
