"""`train --replay=STEP`: does one step of a run again and looks at every layer and gradient.

In: the folder of a run. Out: a `Replay`. Training restarts at the nearest checkpoint before the
step, or from the seeds, with the program of the run; nothing is written to the folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from lstm_lab.config.ids import program_spec, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.weights import weight_name
from lstm_lab.results.run_files import read_settings
from lstm_lab.tasks import Split
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.divergence import describe_batch
from lstm_lab.training.forward import activations, training_regularization
from lstm_lab.training.initial_weights import initial_member
from lstm_lab.training.lanes import no_lanes
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import layout_of
from lstm_lab.training.optimizer import schedule_length
from lstm_lab.training.pace import no_progress
from lstm_lab.training.parallel import build_program
from lstm_lab.training.program import Program
from lstm_lab.training.reports import EVALUATE, REPORT
from lstm_lab.training.state import RUNNING, TrainState
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON, PyTree


@dataclass(frozen=True)
class Replay:
    """One step of a run, done again.

    Attributes:
      step: its number, from 1.
      start: the step from which training was repeated; 0 is the beginning.
      loss, grad_norm, update_ratio, lr: what the step measured.
      batch: what its batch consists of (`divergence.describe_batch`).
      activation: the path of the first module whose output is not finite, or None.
      gradients: the paths of the parameters whose gradients are not finite.
    """

    step: int
    start: int
    loss: float
    grad_norm: float
    update_ratio: float
    lr: float
    batch: dict[str, JSON]
    activation: str | None
    gradients: tuple[str, ...]

    def lines(self) -> list[str]:
        """Returns the replay as text, one fact per line."""
        begin = f"the checkpoint of step {self.start}" if self.start else "the seeds"
        what = ", ".join(f"{name} {value}" for name, value in self.batch.items())
        return [
            f"step {self.step}, repeated from {begin}",
            f"loss {self.loss:g}, gradient norm {self.grad_norm:g}, "
            f"update ratio {self.update_ratio:g}, learning rate {self.lr:g}",
            f"batch: {what}",
            f"first output that is not finite: {self.activation or 'none'}",
            f"gradients that are not finite: {', '.join(self.gradients) or 'none'}",
        ]


def replay(spec: RunSpec, folder: Path, data_dir: Path, step: int) -> Replay:
    """Does one step of a run again.

    Args:
      spec: the run.
      folder: its folder.
      data_dir: the folder of data sets.
      step: the number of the step, from 1.

    Raises:
      UserError: if the folder does not hold the run, or the run has no such step.

    Example:
      replay(spec, Path("runs/adding"), data_dir, 812).activation  # "lstm/layer_0"
    """
    head = read_settings(folder)
    if head is None or head["id"] != run_id(spec):
        raise UserError(f"--replay: {folder} does not hold this run; train it first")
    dataset = spec.task.load(data_dir)
    train = dataset.splits.get("train")
    total, every = spec.schedule_steps(train)
    if not 1 <= step <= total:
        raise UserError(f"--replay: got {step}, expected a step of the run, 1 to {total}")
    recorded = layout_of(spec, head)
    # One lane; the width and the split of the batch stay, since the bits depend on them.
    kind = "single" if recorded.kind == "members" else recorded.kind
    devices = 1 if kind == "single" else recorded.devices
    layout = replace(recorded, kind=kind, devices=devices, lanes=1)
    program = build_program(spec, total, layout)
    first = initial_member(program, spec, total, dataset.preprocessing).state
    state, since = _start(program, first, folder, step)
    start = int(program.collect(state.step)[0])
    data = program.place_data(dataset.training_splits)
    state = _advance(program, state, data, since, every, step - 1)
    before: TrainState = jax.tree.map(lambda a: np.array(a[0]), program.collect(state))
    activation, gradients = _inspect(spec, total, layout, before, train)
    _, report = program.run_chunk(state, data, np.int32(1), np.int32(REPORT))
    report = jax.tree.map(lambda a: a[0], program.collect(report))
    measured = {
        name: float(getattr(report, name)) for name in ("loss", "grad_norm", "update_ratio", "lr")
    }
    return Replay(
        step=step,
        start=start,
        **measured,
        batch=describe_batch(spec, train, step),
        activation=activation,
        gradients=gradients,
    )


def _start(program: Program, member: TrainState, folder: Path, step: int) -> tuple[TrainState, int]:
    """Returns the state of the nearest checkpoint before a step, and its steps since evaluation."""
    first = program.assign(None, {0: member})
    like = {
        "state": program.collect(first),
        "lanes": no_lanes(1),
        "progress": no_progress(),
    }

    def precedes(tree: PyTree) -> bool:
        state = tree["state"]
        # After a rollback, a run repeats its steps with another learning rate.
        rolled_back = state.rollback is not None and state.rollback.times[0] > 0
        return bool(state.step[0] < step and not rolled_back)

    saved = Checkpoints(folder / "checkpoints" / "latest").restore(like, accepts=precedes).tree
    if saved is None:
        return first, 0
    # The repeated step is measured alone.
    state: TrainState = saved["state"]._replace(interval=like["state"].interval)
    return program.place(state), int(saved["progress"].since_eval)


def _advance(
    program: Program,
    state: TrainState,
    data: dict[str, Split],
    since: int,
    every: int,
    end: int,
) -> TrainState:
    """Trains up to a step, with the evaluations of the run: they may lower the learning rate."""
    step = int(program.collect(state.step)[0])
    while step < end:
        steps = min(end - step, every - since)
        since = (since + steps) % every
        ending = REPORT if since else EVALUATE
        state, report = program.run_chunk(state, data, np.int32(steps), np.int32(ending))
        report, stopped = program.collect((report, state.stopped))
        step = int(report.reached[0])
        if stopped[0] != RUNNING and step < end + 1:
            fault = int(report.fault.step[0])
            found = f"; its first step that is not finite is {fault}" if fault else ""
            raise UserError(f"--replay: the run ended at step {step}{found}")
    return state


def _inspect(
    spec: RunSpec, total: int, layout: Layout, state: TrainState, train: Split | None
) -> tuple[str | None, tuple[str, ...]]:
    """Returns the first module of a step whose output is not finite, and such gradients."""
    wide = program_spec(layout.widen(spec))
    step = TrainStep(wide, schedule_length(spec, total), padded=layout.width is not None)
    batch = jax.jit(partial(step.batch, train, order_N=None))(state)
    _, _, grads = jax.jit(step.step)(state, batch)
    # Not compiled: a compiled function sorts the names of a dict, and the order counts here.
    regularization = training_regularization(wide, state, batch)
    outputs = activations(wide, state.params, batch, regularization, state.carry)
    first = next((name for name, arrays in outputs.items() if not _are_finite(arrays)), None)
    gradients = tuple(
        weight_name(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
        if not _are_finite([leaf])
    )
    return first, gradients


def _are_finite(arrays: list[jax.Array]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)
