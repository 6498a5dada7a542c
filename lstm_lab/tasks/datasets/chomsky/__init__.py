"""The fifteen problems of Deletang et al. 2023, from regular to context-sensitive languages.

problem.py says what a problem is; regular.py, context_free.py and context_sensitive.py draw them,
with expressions.py for arithmetic and bits.py for large integers. task.py makes one task of them.
"""

from lstm_lab.tasks.datasets.chomsky.task import PROBLEMS, Chomsky

__all__ = ["PROBLEMS", "Chomsky"]
