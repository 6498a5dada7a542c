"""Settings of different sections that exclude each other: a table of conditions and messages.

In: a `RunSpec`, which calls `check` when it is created. Out: nothing, or an error that names the
setting. The range of one setting is checked by its section (`sections.py`), its type by
`parsing.py`. A conflict is an error even if training could ignore the setting: otherwise a study
would compare two names of the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from lstm_lab.cells.cell import Spec, zero_state_shapes
from lstm_lab.cells.contract import contract_problem
from lstm_lab.cells.masks import default_rates
from lstm_lab.config.variant import resolve_cell
from lstm_lab.tasks import Categorical, Tokens, metric_names
from lstm_lab.utils.errors import UserError, unknown

if TYPE_CHECKING:
    from lstm_lab.config.run_spec import RunSpec


class Conflict(NamedTuple):
    """Settings that exclude each other.

    Attributes:
      applies: a function of a spec: whether it has the conflict.
      message: the setting and the reason; `{task}` and `{cell}` stand for the names in the spec.
    """

    applies: Callable[[RunSpec], bool]
    message: str


def _reads_tokens(spec: RunSpec) -> bool:
    return isinstance(spec.task.inputs, Tokens)


def _translates(spec: RunSpec) -> bool:
    return spec.task.source_vocabulary is not None


def _attends_stepwise(spec: RunSpec) -> bool:
    """Whether the decoder attends before each step, so that its steps run one by one."""
    return _translates(spec) and spec.model.attention == "bahdanau"


def _loads_embedding(spec: RunSpec) -> bool:
    parts = [part.partition("/")[0] for part in spec.model.init_parts]
    return spec.model.init_from is not None and (not parts or "embed" in parts)


# In this order: the first conflict that applies is reported.
CONFLICTS = (
    # Generated examples never repeat, so an epoch has no end.
    Conflict(
        lambda spec: spec.train.epochs is not None and spec.task.sample is not None,
        "train.epochs: {task} generates its training data; set train.steps",
    ),
    Conflict(
        lambda spec: spec.optim.counts_epochs and spec.train.epochs is None,
        "optim.decay_unit: got epoch, which needs train.epochs instead of train.steps; set it to "
        "update, with optim.decay_steps and decay_begin in updates",
    ),
    Conflict(
        lambda spec: spec.model.embedding is not None and not _reads_tokens(spec),
        "model.embedding: the inputs of {task} are not tokens",
    ),
    # The penalties read the outputs of all steps; an encoder-decoder does not store them.
    Conflict(
        lambda spec: (
            spec.train.penalized and (not spec.task.target.every_step or _translates(spec))
        ),
        "train.activation_reg, temporal_reg: {task} has no outputs at every step",
    ),
    # With a prediction at every step, the last vector would tell earlier steps about the future.
    Conflict(
        lambda spec: (
            spec.model.subtract_last and (_reads_tokens(spec) or spec.task.target.every_step)
        ),
        "model.subtract_last: needs vectors and a prediction at their end; got {task}",
    ),
    Conflict(
        lambda spec: (
            bool(spec.train.label_smoothing) and not isinstance(spec.task.target, Categorical)
        ),
        "train.label_smoothing: {task} has no classes",
    ),
    # The backward direction would have to start at the end of the stream.
    Conflict(
        lambda spec: spec.model.bidirectional and spec.task.is_stream,
        "model.bidirectional: {task} is read forward, in chunks",
    ),
    # `luong` is the default, so it cannot be told apart from a setting that nobody made.
    Conflict(
        lambda spec: not _translates(spec) and spec.model.attention != "luong",
        "model.attention: {task} has no encoder to attend to",
    ),
    Conflict(
        lambda spec: _translates(spec) and spec.model.embedding is None,
        "model.embedding: translation needs one",
    ),
    Conflict(
        lambda spec: _translates(spec) and spec.model.tied,
        "model.tied: translation does not support it",
    ),
    Conflict(
        lambda spec: _translates(spec) and spec.model.vectors is not None,
        "model.vectors: translation does not support it",
    ),
    Conflict(
        lambda spec: _loads_embedding(spec) and spec.model.vectors is not None,
        "model.vectors: model.init_from loads the embedding, too; leave it out by model.init_parts",
    ),
    Conflict(
        lambda spec: _translates(spec) and spec.model.dropout_words > 0.0,
        "model.dropout_words: translation does not support it",
    ),
    # The bridge maps c by a dense layer, so c would no longer fit the normalizer that divides it.
    Conflict(
        lambda spec: _translates(spec) and spec.model.cell == "slstm",
        "model.cell: the normalizer of slstm cannot be bridged from encoder to decoder",
    ),
    Conflict(
        lambda spec: _attends_stepwise(spec) and bool(spec.model.dropout or spec.model.dropout_in),
        "model.dropout, dropout_in: the decoder with bahdanau attention supports neither",
    ),
    Conflict(
        lambda spec: _attends_stepwise(spec) and bool(default_rates(resolve_cell(spec.model))),
        "model.cell: the decoder with bahdanau attention draws no noise for {cell}",
    ),
    Conflict(
        lambda spec: _translates(spec) and spec.compute.gates,
        "compute.gates: translation has no gate statistics",
    ),
    # Not allowed as 0 either: noise of amount 0 would still give another program and another id.
    Conflict(
        lambda spec: spec.model.input_noise is not None and _reads_tokens(spec),
        "model.input_noise: the inputs of {task} are tokens",
    ),
)


def check(spec: RunSpec) -> None:
    """Checks settings of different sections against each other.

    Args:
      spec: the run.

    Raises:
      ValueError: for a seed out of range, the first conflict of `CONFLICTS`, or an embedding that
        the head cannot share.
      UserError: for a metric that the task does not have.
    """
    # Seeds are uint32 arrays of the training state: a larger one would wrap around.
    seeds = {name: getattr(spec, name) for name in ("seed", "init_seed", "data_seed", "noise_seed")}
    # Those of a task make random choices of examples, for which NumPy refuses negative ones.
    for name, value in vars(spec.task).items():
        if name.endswith("_seed") and isinstance(value, int):
            seeds[f"task.{name}"] = value
    for name, value in seeds.items():
        if value is not None and not 0 <= value < 2**32:
            raise ValueError(f"{name}: got {value}, expected 0 to 2^32 - 1")
    # Not all metrics of the task: `final_metrics` exist only once, after training.
    metrics = metric_names(spec.task.target)
    if spec.train.metric in spec.task.final_metric_directions:
        raise UserError(
            f"train.metric: got {spec.train.metric!r}, which is measured on the test split alone, "
            f"after training; expected one of {', '.join(metrics)}"
        )
    if spec.train.metric not in (None, *metrics):
        raise unknown("train.metric", spec.train.metric, metrics)
    for conflict in CONFLICTS:
        if conflict.applies(spec):
            raise ValueError(conflict.message.format(task=spec.task.name, cell=spec.model.cell))
    if spec.model.tied:
        _check_tied(spec)


def _check_tied(spec: RunSpec) -> None:
    """Raises ValueError unless the head needs a matrix of the shape that the embedding has."""
    model, inputs, outputs = spec.model, spec.task.inputs, spec.task.target.size
    if isinstance(inputs, Tokens) and inputs.vocabulary != outputs:
        raise ValueError(
            f"model.tied: {spec.task.name} has {inputs.vocabulary} symbols and {outputs} outputs, "
            "expected as many; leave it out"
        )
    width = _output_features(resolve_cell(model), model.layer_widths[-1])
    if width is None:
        return  # a wrong cell of the user's, which `build_spec` reports
    features = width * model.joined_directions
    if model.embedding != features:
        raise ValueError(
            f"model.tied: the last layer gives {features} features, the embedding has "
            f"{model.embedding}; set model.embedding={features}"
        )


# Cached: it traces the cell, which takes a tenth of a second, and each seed of a study is checked.
@lru_cache(maxsize=256)
def _output_features(cell: Spec, units: int) -> int | None:
    """Returns the features of a cell's h, which it may project; None for a cell that is wrong."""
    if contract_problem(cell, units, units) is not None:
        return None
    return int(zero_state_shapes(cell, units).h.shape[-1])
