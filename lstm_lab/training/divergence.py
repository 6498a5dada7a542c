"""What a run says about its divergence: the step, what it measured, and the batch it read.

In: the first fault of a call (`reports.Fault`). Out: the entry `divergence` of result.json, and a
line for people. `replay.py` does the step again.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Split, Stream, batch_places, steps_per_epoch
from lstm_lab.training.reports import Fault
from lstm_lab.utils.types import JSON


def fault_record(spec: RunSpec, train: Split | None, fault: Fault) -> dict[str, JSON] | None:
    """Returns a fault as JSON-ready data; None without one.

    Args:
      spec: the run.
      train: its training split; None for a task that generates its training data.
      fault: host arrays.
    """
    step = int(fault.step)
    if not step:
        return None
    numbers = {name: _number(getattr(fault, name)) for name in ("loss", "grad_norm", "lr")}
    return {"step": step, **numbers, "batch": describe_batch(spec, train, step)}


def describe_batch(spec: RunSpec, train: Split | None, step: int) -> dict[str, JSON]:
    """Returns what the batch of a step consists of.

    Args:
      spec: the run.
      train: its training split, or None.
      step: the number of the step, from 1.

    Returns:
      `examples`, the indices in the training split; for a stream `chunk`, the number of the chunk
      of every track; for generated data `data_seed` and `step`, from which the examples follow.
    """
    seed, size = spec.seeds["data"], spec.train.batch_size
    if spec.task.sample is not None or train is None:
        return {"data_seed": seed, "step": step}
    if isinstance(train, Stream):
        return {"chunk": (step - 1) % steps_per_epoch(train, size), "tracks": train.tracks}
    bucket = size if spec.train.bucket else None
    places = batch_places(train, jnp.uint32(seed), jnp.int32(step - 1), size, bucket)
    return {"examples": np.asarray(jax.device_get(places)).tolist()}


def explain(divergence: dict[str, JSON] | None, steps: int) -> str:
    """Returns why a run diverged, in one line.

    Args:
      divergence: what `fault_record` returned; None if every training step was finite.
      steps: optimizer steps that the run has done.
    """
    if divergence is None:
        return f"the validation loss at step {steps} is not finite"
    step = divergence["step"]
    return (
        f"step {step}: loss {divergence['loss']}, gradient norm {divergence['grad_norm']}, "
        f"learning rate {divergence['lr']}; train with --replay={step} shows where"
    )


def _number(value: jax.Array) -> float | str:
    """Returns a number, or its name if JSON has none for it."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else str(number)
