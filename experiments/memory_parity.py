"""Parity by length: chance is 0.5.

Command: lstm-lab reproduce memory_parity
"""

from configs import parity
from experiments.long_memory import memory
from lstm_lab.sweep import Study


def get_study() -> Study:
    """Returns the study."""
    config = parity.get_config()
    return memory("memory_parity", "Parity at every step", config, (10, 30, 100), 400, "length")
