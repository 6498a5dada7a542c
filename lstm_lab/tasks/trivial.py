"""What needs no model: the scores of answers that look at no input, or only at the last one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import log_softmax

from lstm_lab.tasks.base import (
    Bernoulli,
    Categorical,
    Dataset,
    Examples,
    Real,
    Split,
    Stream,
    Target,
    Task,
)
from lstm_lab.tasks.metrics import metric_names

Metrics = dict[str, float]


def trivial_baselines(task: Task, dataset: Dataset) -> dict[str, Metrics]:
    """Returns the test metrics of naive answers, by name.

    `constant` answers what is best of all answers that are always the same: the training part's
    frequencies, or its mean. A task may know more, such as the last value of a series, or what a
    linear model says of a table.

    Args:
      task: the task.
      dataset: its data; where the training part is generated, valid stands for it.
    """
    train = dataset.splits.get("train", dataset.splits["valid"])
    test = dataset.splits["test"]
    found = {"constant": _constant(task.target, _targets(task, train), _targets(task, test))}
    if isinstance(test, Examples):
        for name, outputs in task.trivial_outputs(dataset).items():
            found[name] = _scored(task.target, outputs, np.asarray(test.y))
            found[name] |= task.final_metrics(outputs, test, dataset.preprocessing)
    return found


def _targets(task: Task, split: Split) -> np.ndarray:
    """Returns all that is to be predicted, a row each."""
    if isinstance(split, Stream):
        return np.asarray(split.tokens)[1:]
    y = np.asarray(split.y)
    if not task.target.every_step:
        return y
    T = y.shape[1]
    lengths = np.full(len(y), T) if split.lengths is None else np.asarray(split.lengths)
    return y[np.arange(T)[None] < lengths[:, None]]


def _constant(target: Target, train: np.ndarray, test: np.ndarray) -> Metrics:
    match target:
        case Categorical():
            # One more of each class, since a class of the test part may be new.
            p_C = (np.bincount(train, minlength=target.size) + 1.0) / (len(train) + target.size)
            nll = -float(np.log(p_C[test]).mean())
            found = {
                "nll": nll,
                "accuracy": float((test == p_C.argmax()).mean()),
                "perplexity": math.exp(nll),
                "bits": nll / math.log(2),
            }
        case Bernoulli():
            p_C = (train.sum(0) + 0.5) / (len(train) + 1.0)
            nll_NC = -np.where(test > 0.5, np.log(p_C), np.log1p(-p_C))
            right = ((p_C > 0.5) == (test > 0.5)).all(-1)
            found = {"nll": float(nll_NC.sum(-1).mean()), "accuracy": float(right.mean())}
        case Real():
            found = _errors(np.broadcast_to(train.mean(0), test.shape), test)
    return {name: found[name] for name in metric_names(target) if name in found}


def _scored(target: Target, outputs: np.ndarray, y: np.ndarray) -> Metrics:
    """Returns the metrics of a task's own naive answers: values, or logits of classes."""
    if not isinstance(target, Categorical):
        return _errors(outputs, y)
    nll = -log_softmax(outputs, axis=-1)[np.arange(len(y)), y].mean()
    return {"nll": float(nll), "accuracy": float((outputs.argmax(-1) == y).mean())}


def _errors(outputs: Any, y: np.ndarray) -> Metrics:
    errors = np.asarray(outputs, np.float64) - y
    return {"mse": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean())}
