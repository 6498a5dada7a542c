"""Temporal order by length: chance is 0.25.

Command: lstm-lab reproduce memory_order
"""

from lstm_lab.configs import temporal_order
from lstm_lab.experiments.long_memory import memory

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    config = temporal_order.get_config()
    return memory("memory_order", "Which of two came first", config, (50, 100, 200), 400)
