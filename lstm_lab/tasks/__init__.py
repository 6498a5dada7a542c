"""Data sets and objectives, one file for each family."""

from lstm_lab.tasks.dataset import (
    Batch,
    Bernoulli,
    Categorical,
    Dataset,
    Examples,
    Real,
    Target,
    Task,
    Tokens,
    Vectors,
    epoch_order,
    steps_per_epoch,
    take,
    train_batch,
)
from lstm_lab.tasks.digits import Digits
from lstm_lab.tasks.jsb import JSB
from lstm_lab.tasks.objectives import DIRECTIONS, Scores, metrics_of, scores
from lstm_lab.tasks.synthetic import Adding, CopyMemory, TemporalOrder

TASKS: dict[str, type[Adding | CopyMemory | TemporalOrder | Digits | JSB]] = {
    task.name: task for task in (Adding, CopyMemory, TemporalOrder, Digits, JSB)
}

__all__ = [
    "DIRECTIONS",
    "JSB",
    "TASKS",
    "Adding",
    "Batch",
    "Bernoulli",
    "Categorical",
    "CopyMemory",
    "Dataset",
    "Digits",
    "Examples",
    "Real",
    "Scores",
    "Target",
    "Task",
    "TemporalOrder",
    "Tokens",
    "Vectors",
    "epoch_order",
    "metrics_of",
    "scores",
    "steps_per_epoch",
    "take",
    "train_batch",
]
