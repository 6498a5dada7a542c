"""A layer over time as one kernel for NVIDIA's Hopper, in Pallas Mosaic GPU.

plan.py says what the kernel of a cell computes, step.py computes one time step, and kernel.py loops
over time. ../persistent.py is the backend that calls it.
"""
