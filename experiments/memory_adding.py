"""The adding problem by length: predicting 1 always gives an error of 0.1667.

Command: lstm-lab reproduce memory_adding
"""

from lstm_lab.configs import adding
from lstm_lab.experiments.long_memory import memory

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    config = adding.get_config()
    title = "Adding two of many numbers"
    return memory("memory_adding", title, config, (50, 100, 200), 400, score="mse")
