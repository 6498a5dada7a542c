"""Parity by length: chance is 0.5.

Command: lstm-lab reproduce memory_parity
"""

from lstm_lab.configs import parity
from lstm_lab.experiments.long_memory import memory

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    config = parity.get_config()
    return memory("memory_parity", "Parity at every step", config, (10, 30, 100), 400)
