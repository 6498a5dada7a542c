"""Trivial baselines: test metrics of predictions that need no neural network.

In: a task and its data. Out: test metrics by baseline; every result.json records them next to those
of the model. A model that does not beat `constant` has learned nothing from its inputs. Baselines
are computed on the host, once per cohort. A task adds its own in `Task.trivial_outputs`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstm_lab.tasks.base import Bernoulli, Categorical, Dataset, Real, Target, Task
from lstm_lab.tasks.examples import Split, Stream
from lstm_lab.tasks.metrics import metric_names

Metrics = dict[str, float]


def trivial_baselines(task: Task, dataset: Dataset) -> dict[str, Metrics]:
    """Returns the test metrics of trivial baselines, by name.

    `constant` ignores the input: it predicts the class frequencies or the mean of the training
    split. A task may add others, such as the last value of a series, or a linear model of a table.

    Args:
      task: the task.
      dataset: its data. If the training split is generated, the frequencies come from `valid`.

    Returns:
      For each baseline its metrics by name.

    Example:
      task = Counting()
      trivial_baselines(task, task.load(Path("data")))["constant"]["mae"]  # 0.25
    """
    # Never from `test`: a baseline must not know more than the model does.
    train = dataset.splits.get("train", dataset.splits["valid"])
    test = dataset.splits["test"]
    metrics = {"constant": _constant(task.target, _targets(task, train), _targets(task, test))}
    if not isinstance(test, Stream):
        for name, outputs in task.trivial_outputs(dataset).items():
            metrics[name] = _metrics_of(task.target, outputs, test.targets(every_step=False))
            metrics[name] |= task.final_metrics(outputs, test, dataset.preprocessing)
    return metrics


def _targets(task: Task, split: Split) -> np.ndarray:
    """Returns all targets, one row per prediction: [P] or [P,C]."""
    if isinstance(split, Stream):
        # The first symbol is read but never predicted.
        return np.asarray(split.tokens)[1:]
    return split.targets(every_step=task.target.every_step)


def _constant(target: Target, train: np.ndarray, test: np.ndarray) -> Metrics:
    match target:
        case Categorical():
            # Add-one smoothing: otherwise the NLL of a class that occurs only in the test split is
            # infinite.
            p_C = (np.bincount(train, minlength=target.size) + 1.0) / (len(train) + target.size)
            nll = -float(np.log(p_C[test]).mean())
            metrics = {
                "nll": nll,
                "accuracy": float((test == p_C.argmax()).mean()),
                "perplexity": math.exp(nll),
                "bits": nll / math.log(2),
            }
        case Bernoulli():
            # Half a count on each side, for the same reason: a note may never sound in training.
            p_C = (train.sum(0) + 0.5) / (len(train) + 1.0)
            nll_NC = -np.where(test > 0.5, np.log(p_C), np.log1p(-p_C))
            right = ((p_C > 0.5) == (test > 0.5)).all(-1)
            metrics = {"nll": float(nll_NC.sum(-1).mean()), "accuracy": float(right.mean())}
        case Real():
            # The mean minimizes mse. For mae, the median would be the best constant.
            metrics = _errors(np.broadcast_to(train.mean(0), test.shape), test)
    return {name: metrics[name] for name in metric_names(target) if name in metrics}


def _metrics_of(target: Target, outputs: np.ndarray, y: np.ndarray) -> Metrics:
    """Returns the metrics of a task's own baseline.

    Args:
      target: what is predicted.
      outputs: values [N,C], or logits of classes [N,C].
      y: targets [N,C], or classes [N].
    """
    # No task with binary targets has a baseline of its own, so those are not handled.
    if not isinstance(target, Categorical):
        return _errors(outputs, y)
    from scipy.special import log_softmax

    nll = -log_softmax(outputs, axis=-1)[np.arange(len(y)), y].mean()
    return {"nll": float(nll), "accuracy": float((outputs.argmax(-1) == y).mean())}


def _errors(outputs: Any, y: np.ndarray) -> Metrics:
    # float64, so that rounding errors do not add up over a large split.
    errors = np.asarray(outputs, np.float64) - y
    return {"mse": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean())}
