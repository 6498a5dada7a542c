"""Brackets of four kinds by length: whoever knows no kind has 0.625.

Command: lstm-lab reproduce memory_dyck
"""

from lstm_lab.configs import dyck
from lstm_lab.experiments.long_memory import memory

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    config = dyck.get_config()
    return memory("memory_dyck", "Which bracket is closed", config, (20, 40, 80), 160)
