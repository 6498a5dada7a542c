"""What settings of different sections exclude."""

from __future__ import annotations

from typing import Any

from lstm_lab.cells.masks import default_rates
from lstm_lab.config.variant import resolve_cell
from lstm_lab.tasks import Categorical, Tokens, Translation, metric_names
from lstm_lab.utils.errors import unknown


def check(spec: Any) -> None:
    """Raises ValueError for settings of different sections that do not go together."""
    for name in ("seed", "init_seed", "data_seed", "noise_seed"):
        value = getattr(spec, name)
        if value is not None and not 0 <= value < 2**32:
            raise ValueError(f"{name}: got {value}, expected 0 to 2^32 - 1")
    allowed = metric_names(spec.task.target)
    if spec.train.metric not in (None, *allowed):
        raise unknown("train.metric", spec.train.metric, allowed)
    if spec.train.epochs is not None and spec.task.sample is not None:
        raise ValueError(
            f"train.epochs: {spec.task.name} generates its training data; set train.steps"
        )
    if spec.model.embedding is not None and not isinstance(spec.task.inputs, Tokens):
        raise ValueError(f"model.embedding: the inputs of {spec.task.name} are no tokens")
    if spec.train.penalized and (
        not spec.task.target.every_step or isinstance(spec.task, Translation)
    ):
        raise ValueError(
            f"train.activation_reg, temporal_reg: {spec.task.name} has no outputs of each step"
        )
    no_end = isinstance(spec.task.inputs, Tokens) or spec.task.target.every_step
    if spec.model.subtract_last and no_end:
        raise ValueError(
            f"model.subtract_last: needs vectors, and an answer at their end; got {spec.task.name}"
        )
    if spec.train.label_smoothing and not isinstance(spec.task.target, Categorical):
        raise ValueError(f"train.label_smoothing: {spec.task.name} has no classes")
    if spec.model.bidirectional and spec.task.is_stream:
        raise ValueError(f"model.bidirectional: {spec.task.name} is read forward, in chunks")
    _check_translation(spec)
    if spec.model.input_noise is not None and isinstance(spec.task.inputs, Tokens):
        raise ValueError(f"model.input_noise: the inputs of {spec.task.name} are tokens")


def _check_translation(spec: Any) -> None:
    """Raises ValueError for what a decoder cannot have."""
    if not isinstance(spec.task, Translation):
        if spec.model.attention != "luong":
            raise ValueError(f"model.attention: {spec.task.name} has nothing to attend to")
        return
    if spec.model.embedding is None:
        raise ValueError("model.embedding: translation needs one")
    for name in ("tied", "vectors", "dropout_words"):
        if getattr(spec.model, name):
            raise ValueError(f"model.{name}: translation has no such option")
    if spec.model.cell == "slstm":
        raise ValueError("model.cell: slstm's normaliser has no meaning for a decoder's start")
    if spec.model.attention == "bahdanau" and (spec.model.dropout or spec.model.dropout_in):
        raise ValueError("model.dropout, dropout_in: bahdanau's decoder takes neither")
    if spec.model.attention == "bahdanau" and default_rates(resolve_cell(spec.model)):
        raise ValueError(f"model.cell: bahdanau's decoder draws no noise for {spec.model.cell}")
    if spec.compute.gates:
        raise ValueError("compute.gates: translation has no such statistics")
