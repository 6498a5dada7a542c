"""Configs, one file per task; installed as `lstm_lab.configs`.

The docstring of each file gives its command, time, score and data. `lstm-lab list
configs` lists them.
"""
