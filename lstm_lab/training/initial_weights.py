"""The weights with which a run begins: drawn from its seed, and replaced by existing ones.

In: a program, a run, and what its task computed from the training data. Out: the state before the
first step, and what of it came from `model.init_from`. `session.py` calls this when a run starts in
a lane; a run that resumes has its weights in a checkpoint. Read `word_vectors.py` for
`model.vectors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_lab.cells import CATALOGUE, Spec
from lstm_lab.cells.equations import gate_names
from lstm_lab.cells.spec import CellSpec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.weights_source import source_hash
from lstm_lab.models.weight_files import read_safetensors, safetensors_metadata
from lstm_lab.models.weights import misfit, named_weights, names_part, tree_of_weights
from lstm_lab.results.intact import read_preprocessing
from lstm_lab.results.run_files import read_settings
from lstm_lab.results.study_file import run_status
from lstm_lab.tasks import Tokens, Vectors
from lstm_lab.training import padding
from lstm_lab.training.checkpoint import best_weights
from lstm_lab.training.parallel import unpad
from lstm_lab.training.program import Program
from lstm_lab.training.state import TrainState, with_params
from lstm_lab.training.word_vectors import with_word_vectors
from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.types import JSON, PyTree

# Names in a message; the others are counted.
SHOWN = 5
# The parts of a model whose weights belong to the gates of a cell.
RECURRENT = ("lstm", "encoder", "decoder")
# The names of the columns of a table in preprocessing, in their order.
COLUMNS = "names"


class LoadedWeights(NamedTuple):
    """What a run took from `model.init_from`; run.json has it as `initial_weights`.

    Attributes:
      run: the id of the run that trained the weights; None for a file.
      status: how that run ended; None for a file.
      loaded: the names of the weights that were loaded.
      drawn: weights that were initialized from the seed: the others of the model.
      unmatched: names in the file or run that the model does not have.
    """

    run: str | None
    status: str | None
    loaded: tuple[str, ...]
    drawn: tuple[str, ...]
    unmatched: tuple[str, ...]

    def line(self, source: str) -> str:
        """Returns it as one line, for people.

        Args:
          source: the path in `model.init_from`.
        """
        total = len(self.loaded) + len(self.drawn)
        ended = f" ({self.status})" if self.status not in (None, "completed") else ""
        parts = [f"{source}{ended}: weights for {len(self.loaded)} of {total} tensors"]
        for what, names in (
            ("drawn from the seed", self.drawn),
            ("not in this model", self.unmatched),
        ):
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            parts += [f"{what}: {', '.join(names[:SHOWN])}{more}"] if names else []
        return "; ".join(parts)


class RunStart(NamedTuple):
    """How a run begins.

    Attributes:
      state: the state before its first step, host arrays at the program's width.
      loaded: what came from `model.init_from`; None without it.
      lines: what came from `model.init_from` and `model.vectors`, for people.
    """

    state: TrainState
    loaded: LoadedWeights | None
    lines: tuple[str, ...]


def initial_member(
    program: Program, spec: RunSpec, total: int, preprocessing: Mapping[str, JSON]
) -> RunStart:
    """Returns how a run begins.

    Args:
      program: the program that trains it.
      spec: the run.
      total: its number of optimizer steps.
      preprocessing: what the task computed from its training data.

    Raises:
      UserError: for weights or word vectors that are missing, or do not fit the model or the data;
        the message names the first of them.

    Example:
      initial_member(program, spec, total, dataset.preprocessing).loaded.drawn
      # ('head/bias', 'head/kernel')
    """
    state, loaded = program.init_member(spec, total), None
    lines: list[str] = []
    if spec.model.init_from is not None:
        # At its own size: that of the program depends on the other runs of the cohort.
        drawn = unpad(program.layout, spec, state.params)
        params, loaded = _with_existing_weights(spec, drawn, preprocessing)
        if program.layout.width is not None:
            width = program.layout.width
            params = padding.pad(params, spec.model.hidden, width, state.params)
        state = with_params(state, params)
        lines.append(loaded.line(spec.model.init_from))
    if spec.model.vectors is not None:
        state, line = with_word_vectors(spec, state, preprocessing)
        lines.append(line)
    return RunStart(state, loaded, tuple(lines))


def _with_existing_weights(
    spec: RunSpec, params: PyTree, preprocessing: Mapping[str, JSON]
) -> tuple[PyTree, LoadedWeights]:
    """Returns a model's weights, those of `model.init_from` among them."""
    path, parts = str(spec.model.init_from), spec.model.init_parts
    source = _read_source(Path(path), str(spec.init_from_sha256))
    weights = named_weights(params)
    common = [name for name in weights if name in source.weights]
    loaded = [name for name in common if not parts or names_part(parts, name)]
    for part in parts:
        if not any(names_part((part,), name) for name in loaded):
            raise unknown("model.init_parts", part, _parts(common))
    if not loaded:
        hint = "; convert it: lstm-lab import FILE --from=torch" if source.is_file else ""
        raise UserError(
            f"model.init_from: no weight of {path} has a name of this model: it has "
            f"{_first(source.weights)}, and the model has {_first(weights)}{hint}"
        )
    problems = _problems(spec, source, {name: weights[name] for name in loaded}, preprocessing)
    if problems:
        name, problem = next(iter(problems.items()))
        fitting = [part for part in _parts(loaded) if part not in _parts(list(problems))]
        hint = f"; --config.model.init_parts={','.join(fitting)} leaves it out" if fitting else ""
        raise UserError(f"model.init_from: {path}: {name} {problem}{hint}")
    weights |= {name: source.weights[name] for name in loaded}
    return tree_of_weights(weights, params), LoadedWeights(
        run=source.run,
        status=source.status,
        loaded=tuple(loaded),
        drawn=tuple(name for name in weights if name not in loaded),
        unmatched=tuple(name for name in source.weights if name not in weights),
    )


def _first(weights: Mapping[str, np.ndarray]) -> str:
    return next(iter(weights), "no weights")


def _parts(names: Sequence[str]) -> list[str]:
    """Returns the parts of a model that weights belong to, such as `embed` and `lstm`."""
    return list(dict.fromkeys(name.partition("/")[0] for name in names))


# ---- what was trained before


class _ExistingWeights(NamedTuple):
    """Existing weights.

    Attributes:
      weights: arrays by name.
      run: the id of the run that trained them, or None.
      status: how that run ended, or None.
      cell: the name of their cell; None for a file of others.
      preprocessing: what that run learned from its training data; empty for a file.
      is_file: whether they come from a file, and not from the folder of a run.
    """

    weights: dict[str, np.ndarray]
    run: str | None
    status: str | None
    cell: str | None
    preprocessing: Mapping[str, JSON]
    is_file: bool


# All runs of a cohort start from the same weights.
@lru_cache(maxsize=1)
def _read_source(path: Path, sha256: str) -> _ExistingWeights:
    """Reads the weights that `model.init_from` names; the hash is that of the run's id."""
    now = source_hash(path)
    if now != sha256:
        raise UserError(
            f"model.init_from: {path} was changed after the run was set up; restore the file, or "
            f"start a new run (sha256 {now}, then {sha256})"
        )
    what = f"model.init_from: {path}"
    if not path.is_dir():
        content = path.read_bytes()
        weights = read_safetensors(content, what)
        cell = safetensors_metadata(content).get("cell")
        return _ExistingWeights(weights, None, None, cell, {}, is_file=True)
    head = read_settings(path) or {}
    return _ExistingWeights(
        weights=named_weights(best_weights(path, "model.init_from")),
        run=head.get("id"),
        status=run_status(path)[0],
        cell=head["spec"]["model"]["cell"] if head else None,
        preprocessing=read_preprocessing(path, head, "model.init_from"),
        is_file=False,
    )


# ---- what does not fit


def _problems(
    spec: RunSpec,
    source: _ExistingWeights,
    drawn: Mapping[str, np.ndarray],
    preprocessing: Mapping[str, JSON],
) -> dict[str, str]:
    """Returns why weights do not fit, by name.

    Args:
      spec: the run.
      source: the existing weights.
      drawn: the weights of the model that they would replace.
      preprocessing: what the task computed from its training data.
    """
    problems, gates = {}, _other_gates(source.cell, spec.model.cell)
    for name, like in drawn.items():
        # Before the shapes: another number of gates is why they differ.
        problem = gates if names_part(RECURRENT, name) else None
        problem = problem or misfit(source.weights[name], like)
        if problem is None and (symbols := _symbols(spec, name, like)):
            what = "columns" if symbols == COLUMNS else "symbols"
            pair = (source.preprocessing.get(symbols), preprocessing.get(symbols))
            problem = _difference(*pair, what)
        if problem is not None:
            problems[name] = problem
    return problems


def _symbols(spec: RunSpec, name: str, weight: np.ndarray) -> str | None:
    """Returns the symbols in whose order the rows of a weight are, by the key in preprocessing."""
    match name.partition("/")[0]:
        case "embed":
            return "inputs"
        case "embed_source":
            return "sources"
        # A tied head is a bias alone.
        case "head" | "bias":
            return "outputs"
    inputs = spec.task.inputs
    if "layer_0" not in name:
        return None
    match inputs:
        # One-hot inputs: the first layer has a row for each symbol.
        case Tokens() if spec.model.embedding is None and weight.shape[0] == inputs.vocabulary:
            return "inputs"
        # Numbers of a table: the rows are in the order of its columns.
        case Vectors() if weight.shape[0] == inputs.features:
            return COLUMNS
    return None


def _other_gates(before: str | None, now: str) -> str | None:
    """Returns in which gates two cells differ, as the end of a message; None if they do not."""
    # The gates of a user's own cell are known to its code alone.
    if before not in CATALOGUE or now not in CATALOGUE:
        return None
    old, new = CATALOGUE[before].spec, CATALOGUE[now].spec
    if type(old) is type(new) and _gates(old) == _gates(new):
        return None
    return (
        f"belongs to a cell with other gates: {before} with {_gates(old)} there and {now} with "
        f"{_gates(new)} here"
    )


def _gates(spec: Spec) -> str:
    """Returns the gates of a cell and its candidate, in the order of the arrays."""
    names = ", ".join(name for name in gate_names(spec) if name) or "none"
    if not (isinstance(spec, CellSpec) and spec.coupled):
        return names
    # Without it, the other gate is the constant 1: the weights learned another equation.
    return f"{names} and {'f from i' if 'i' in spec.gates else 'i from f'}"


def _difference(before: JSON, now: JSON, what: str) -> str | None:
    """Returns in what two vocabularies differ, as the end of a message; None if they do not."""
    # Tasks that generate numbers have no names for them.
    if before is None or now is None or list(before) == list(now):
        return None
    pairs = zip_longest(map(repr, before), map(repr, now), fillvalue="missing")
    number, (old, new) = next((k, pair) for k, pair in enumerate(pairs) if pair[0] != pair[1])
    return (
        f"was trained with other {what}: "
        f"number {number} is {old} in the source and {new} in this run"
    )
