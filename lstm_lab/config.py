"""RunSpec: everything that defines a run, built strictly from a config, to JSON and back."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp

from lstm_lab.cells import Spec, find
from lstm_lab.cells.masks import RATES, default_rates
from lstm_lab.encoder_decoder import EncoderDecoder
from lstm_lab.model import ModelSpec, SequenceModel, build_encoder_decoder, build_model
from lstm_lab.optim import OptimSpec
from lstm_lab.recurrence import Backend, Call, resolve
from lstm_lab.sections import ComputeSpec, TrainSpec
from lstm_lab.strict import FILLED_IN, build, expect_mapping
from lstm_lab.tasks import (
    DIRECTIONS,
    TASKS,
    Categorical,
    Split,
    Task,
    Tokens,
    Translation,
    is_stream,
    metrics_of,
    steps_per_epoch,
)
from lstm_lab.utils.errors import UserError, unknown


@dataclass(frozen=True)
class RunSpec:
    """A run: what it learns, with which model, how, and from which seeds.

    Attributes:
      task: the task, by `name`, with its options.
      model: the model.
      optim: the optimiser.
      train: the length of training and what it minimises.
      seed: of initialisation, data order and noise alike, unless one has its own:
      init_seed, data_seed, noise_seed: that one's seed, or None.
      compute: how it is computed; not part of the run's id.
      cell_sha256: hash of the file of a cell of the user's own; filled in by `build_spec`.
      vectors_sha256: hash of the file of `model.vectors`; filled in likewise.
    """

    task: Task
    model: ModelSpec
    optim: OptimSpec
    train: TrainSpec
    seed: int = 0
    init_seed: int | None = None
    data_seed: int | None = None
    noise_seed: int | None = None
    compute: ComputeSpec = field(default_factory=ComputeSpec)
    cell_sha256: str | None = None
    vectors_sha256: str | None = None

    def __post_init__(self) -> None:
        for name in ("seed", "init_seed", "data_seed", "noise_seed"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**32:
                raise ValueError(f"{name}: found {value}, allowed 0 to 2^32 - 1")
        allowed = metrics_of(self.task.target)
        if self.train.metric not in (None, *allowed):
            raise unknown("train.metric", self.train.metric, allowed)
        if self.train.epochs is not None and self.task.sample is not None:
            raise ValueError(
                f"train.epochs: {self.task.name} generates its training data; set train.steps"
            )
        if self.model.embedding is not None and not isinstance(self.task.inputs, Tokens):
            raise ValueError(f"model.embedding: the inputs of {self.task.name} are no tokens")
        if self.train.penalised and (
            not self.task.target.every_step or isinstance(self.task, Translation)
        ):
            raise ValueError(
                f"train.activation_reg, temporal_reg: {self.task.name} has no outputs of each step"
            )
        no_end = isinstance(self.task.inputs, Tokens) or self.task.target.every_step
        if self.model.centre and no_end:
            raise ValueError(
                f"model.centre: needs vectors, and an answer at their end; found {self.task.name}"
            )
        if self.train.label_smoothing and not isinstance(self.task.target, Categorical):
            raise ValueError(f"train.label_smoothing: {self.task.name} has no classes")
        if self.model.bidirectional and is_stream(self.task):
            raise ValueError(f"model.bidirectional: {self.task.name} is read forward, in chunks")
        self._check_translation()
        if self.model.input_noise is not None and isinstance(self.task.inputs, Tokens):
            raise ValueError(f"model.input_noise: the inputs of {self.task.name} are tokens")

    def _check_translation(self) -> None:
        """Raises ValueError for what a decoder cannot have."""
        if not isinstance(self.task, Translation):
            if self.model.attention != "luong":
                raise ValueError(f"model.attention: {self.task.name} has nothing to attend to")
            return
        if self.model.embedding is None:
            raise ValueError("model.embedding: translation needs one, found none")
        for name in ("tied", "vectors", "dropout_words"):
            if getattr(self.model, name):
                raise ValueError(f"model.{name}: translation has no such option")
        if self.model.cell == "slstm":
            raise ValueError("model.cell: slstm's normaliser has no meaning for a decoder's start")
        if self.model.attention == "bahdanau" and (self.model.dropout or self.model.dropout_in):
            raise ValueError("model.dropout, dropout_in: bahdanau's decoder takes neither")
        if self.model.attention == "bahdanau" and default_rates(resolve_cell(self.model)):
            raise ValueError(f"model.cell: bahdanau's decoder draws no noise for {self.model.cell}")
        if self.compute.gates:
            raise ValueError("compute.gates: translation has no such statistics")

    @property
    def metric(self) -> str:
        """The metric that chooses checkpoints and ranks runs."""
        return self.train.metric or self.task.metric

    @property
    def direction(self) -> str:
        """Whether the metric is best at its `min` or its `max`."""
        return DIRECTIONS[self.metric]

    @property
    def seeds(self) -> dict[str, int]:
        """The seed of each purpose."""
        own = {"init": self.init_seed, "data": self.data_seed, "noise": self.noise_seed}
        return {k: self.seed if v is None else v for k, v in own.items()}

    def schedule_steps(self, train: Split | None) -> tuple[int, int]:
        """Returns total steps, and steps between evaluations, with this training split."""
        epoch = None if train is None else steps_per_epoch(train, self.train.batch_size)
        if self.train.steps is not None:
            total = self.train.steps
        else:
            assert epoch
            assert self.train.epochs
            total = self.train.epochs * epoch
        every = self.train.eval_every or epoch or max(total // 20, 1)
        return total, min(every, total)


# ---- from a config to a spec


def build_spec(config: Mapping[str, Any]) -> RunSpec:
    """Builds a spec from a ConfigDict or a dict, and finds everything wrong with it.

    Raises:
      UserError: for an unknown key, a wrong type, a bad range, an unknown name or a conflict; the
        line names the key.
    """
    config = {k: v for k, v in dict(config).items() if k not in FILLED_IN}
    task = config.pop("task", {})
    expect_mapping("task", task)
    options = dict(task)
    name = options.pop("name", None)
    if name not in TASKS:
        raise unknown("task.name", name, TASKS)
    sections = {"task": build(TASKS[name], options, "task.")}
    for key, cls in SECTIONS.items():
        sections[key] = build(cls, config.pop(key, {}), f"{key}.")
    spec = build(RunSpec, {**config, **sections}, "")
    resolve_cell(spec.model)
    path = cell_path(spec.model)
    vectors = Path(spec.model.vectors) if spec.model.vectors else None
    if vectors is not None and not vectors.is_file():
        raise UserError(f"model.vectors: {vectors} does not exist")
    return replace(
        spec,
        cell_sha256=_sha256(path) if path else None,
        vectors_sha256=_sha256(vectors) if vectors else None,
    )


SECTIONS: dict[str, type] = {
    "model": ModelSpec,
    "optim": OptimSpec,
    "train": TrainSpec,
    "compute": ComputeSpec,
}


# ---- cells


def cell_path(model: ModelSpec) -> Path | None:
    """Returns the file of a cell of the user's own, or None for the catalogue's."""
    path, colon, _ = model.cell.rpartition(":")
    return Path(path) if colon else None


def resolve_cell(model: ModelSpec) -> Spec:
    """Returns the variant that a model names, with the model's forget bias and initialiser.

    Raises:
      UserError: for an unknown variant, a file without it, or an option that it does not have.
    """
    path = cell_path(model)
    try:
        cell = find(model.cell).spec if path is None else _load_cell(path, model.cell)
        changes = {
            name: value
            for name in ("forget_bias", "init")
            if (value := getattr(model, name)) is not None
        }
        for name in changes:
            if not hasattr(cell, name):
                raise UserError(f"model.{name}: {model.cell} has no such option")
        cell = replace(cell, **changes)  # type: ignore[type-var]
        for name in RATES:
            if getattr(model, name) is not None and name not in default_rates(cell):
                raise UserError(f"model.{name}: {model.cell} has no such regulariser")
        return cell
    except ValueError as error:
        prefix = "" if str(error).startswith(("forget_bias", "init")) else "cell: "
        raise UserError(f"model.{prefix}{error}") from None


def _load_cell(path: Path, name: str) -> Spec:
    """Runs a user's file and returns the spec of that name."""
    attribute = name.rpartition(":")[2]
    module = load_module(path, "model.cell")
    cell = getattr(module, attribute, None)
    if not hasattr(cell, "cell") or not is_dataclass(cell) or isinstance(cell, type):
        allowed = [k for k, v in vars(module).items() if is_dataclass(v) and hasattr(v, "cell")]
        specs = [k for k in allowed if not isinstance(vars(module)[k], type)]
        raise unknown(f"model.cell: {path}", attribute, specs)
    return cast(Spec, cell)


def load_module(path: Path, what: str) -> types.ModuleType:
    """Runs a Python file and returns its module.

    Raises:
      UserError: for a file that is missing or does not run.
    """
    if not path.is_file():
        raise UserError(f"{what}: {path} does not exist")
    module_spec = importlib.util.spec_from_file_location(f"_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{what}: {path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        raise UserError(f"{what}: {path} does not run: {type(error).__name__}: {error}") from error
    return module


def rates_of(model: ModelSpec) -> dict[str, float]:
    """Returns the rates of the cell's regularisers, the model's or else the variant's own, and the
    input noise where there is any."""
    own = default_rates(resolve_cell(model))
    given = {name: getattr(model, name) for name in own}
    rates = {name: rate if given[name] is None else given[name] for name, rate in own.items()}
    return rates if model.input_noise is None else rates | {"input_noise": model.input_noise}


def model_of(spec: RunSpec, trace: bool = False) -> SequenceModel | EncoderDecoder:
    """Builds the Flax module of a spec; one that keeps its gates has the backend that can."""
    inputs, target = spec.task.inputs, spec.task.target
    if isinstance(spec.task, Translation):
        return build_encoder_decoder(
            spec.model,
            resolve_cell(spec.model),
            source_vocabulary=spec.task.source_vocabulary,
            vocabulary=spec.task.vocabulary,
            backend=spec.compute.backend,
        )
    return build_model(
        spec.model,
        resolve_cell(spec.model),
        vocabulary=inputs.vocabulary if isinstance(inputs, Tokens) else None,
        outputs=target.size,
        every_step=target.every_step,
        backend="scan" if trace else spec.compute.backend,
        trace=trace,
    )


def backends_of(spec: RunSpec, rows: int, members: int = 1) -> list[Backend]:
    """Returns the backends of the recurrence that training takes here, each once, by layer.

    Args:
      spec: the run.
      rows: sequences of a step on one device.
      members: how many members are batched there.

    Raises:
      UserError: for one that is named and cannot serve the run here.
    """
    model, inputs = model_of(spec), spec.task.inputs
    width = inputs.vocabulary if isinstance(inputs, Tokens) else inputs.features
    D, dtype = spec.model.embedding or width, jnp.dtype(spec.model.dtype)
    single = isinstance(model, SequenceModel)
    taken: dict[Backend, None] = {}
    for stack in (model.lstm,) if single else (model.encoder, model.decoder):
        for call in stack.calls(Call(stack.spec, dtype, rows, D, members=members)):
            try:
                taken[resolve(stack.backend, call)] = None
            except ValueError as error:
                raise UserError(f"compute.{error}") from None
    return list(taken)


def blank_input(task: Task, rows: int, T: int) -> jax.Array:
    """Returns zeros of the shape and type of a task's inputs: [rows,T], or [rows,T,D]."""
    inputs = task.inputs
    if isinstance(inputs, Tokens):
        return jnp.zeros((rows, T), jnp.int32)
    return jnp.zeros((rows, T, inputs.features))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- JSON


def to_json(spec: RunSpec) -> dict[str, Any]:
    """Returns a spec as JSON-ready data that `from_json` reads back."""
    data = asdict(spec)
    data["task"] = {"name": spec.task.name, **data["task"]}
    return json.loads(json.dumps(data))


def from_json(data: Mapping[str, Any]) -> RunSpec:
    """Builds the spec of a run.json again.

    Raises:
      UserError: as `build_spec`, and where a cell's file is not the one that the run used.
    """
    spec = build_spec(data)
    recorded = data.get("cell_sha256")
    if recorded is not None and spec.cell_sha256 != recorded:
        raise UserError(
            f"model.cell: {spec.model.cell} has changed since that run "
            f"(sha256 {spec.cell_sha256}, then {recorded}); its source is kept beside run.json"
        )
    return spec


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with dotted fields set; sections are copied."""
    result = {k: dict(v) if hasattr(v, "items") else v for k, v in dict(config).items()}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        if "." in section:
            raise UserError(f"{path}: no such setting")
        target = result.setdefault(section, {}) if section else result
        expect_mapping(section, target)
        target[name] = value
    return result
