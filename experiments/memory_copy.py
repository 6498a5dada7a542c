"""Copy memory by delay: without memory the cross-entropy is 10 ln 8 / (delay + 20).

Command: lstm-lab reproduce memory_copy
"""

from lstm_lab.configs import copy_memory
from lstm_lab.experiments.long_memory import memory

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    config = copy_memory.get_config()
    title = "Copying ten symbols after a delay"
    return memory("memory_copy", title, config, (10, 30, 100), 200, of="delay", score="nll")
