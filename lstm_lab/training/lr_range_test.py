"""The learning-rate range test: which learning rates a model can start with, from one short run.

In: a spec and its data. Out: a `RangeTest`, which `report/render/lr_range.py` draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import OptimSpec
from lstm_lab.tasks import Dataset
from lstm_lab.training.initial_weights import initial_member
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from lstm_lab.training.reports import REPORT
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import Meter

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 120
SMOOTHING = 0.9  # of the exponential moving average of the losses
DIVERGENCE = 4.0  # the test ends when the loss is so many times the lowest one


@dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Attributes:
      rates: learning rates, rising.
      losses: the smoothed training loss of each step, measured before its update.
      suggested: the rate at which the loss falls fastest over the logarithm of the rate.
      highest: a tenth of the rate with the lowest loss; above it training may diverge.
    """

    rates: list[float]
    losses: list[float]
    suggested: float
    highest: float


def find_lr(spec: RunSpec, dataset: Dataset) -> RangeTest:
    """Trains for up to STEPS steps, each at a higher learning rate, until the loss diverges.

    Args:
      spec: the run; its learning rate and schedule are not used.
      dataset: its data.

    Raises:
      UserError: if the loss is not finite at the lowest rates: a lower one would not help.

    Source: Smith 2017, Cyclical learning rates for training neural networks, section 3.3.
    """
    spec = replace(
        spec,
        optim=without_schedule(spec.optim),
        train=replace(spec.train, steps=STEPS, epochs=None),
    )
    program = build_program(spec, STEPS, Layout("single", 1, 1))
    start = initial_member(program, spec, STEPS, dataset.preprocessing)
    state = program.assign(None, {0: start.state})
    data = program.place_data(dataset.training_splits)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with Meter(STEPS) as meter:
        for k, rate in enumerate(np.geomspace(LOWEST, HIGHEST, STEPS)):
            lr = program.place(np.array([rate], np.float32))
            state = state._replace(hparams=state.hparams | {"lr": lr})
            state, report = program.run_chunk(state, data, jnp.int32(1), jnp.int32(REPORT))
            loss = float(program.collect(report.loss)[0])
            mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss
            # Without the division, the average would start near zero (as in Adam).
            smoothed = mean / (1.0 - SMOOTHING ** (k + 1))
            meter.advance(1, f"learning rate {rate:.2e}")
            # The first loss is measured before any update, and one loss has no slope.
            if not np.isfinite(loss) and len(losses) < 2:
                raise UserError(
                    f"--find-lr: the loss is {loss} at the learning rate {rate:.2g}, expected a "
                    "finite loss at the lowest rates; look for extreme values in the data and in "
                    "the initial weights (model.init, model.init_from, model.vectors)"
                )
            if not np.isfinite(loss) or (losses and smoothed > DIVERGENCE * min(losses)):
                break
            rates.append(float(rate))
            losses.append(smoothed)
    return suggest_rates(rates, losses)


def without_schedule(optim: OptimSpec) -> OptimSpec:
    """Returns the same optimizer at a constant rate, with one batch per update."""
    default = OptimSpec()
    return replace(
        optim,
        schedule="constant",
        final_lr=default.final_lr,
        decay_rate=default.decay_rate,
        warmup_steps=0,
        plateau=None,
        accumulate=1,
    )


def suggest_rates(rates: list[float], losses: list[float]) -> RangeTest:
    """Returns the result of a range test from its rates and losses."""
    best = int(np.argmin(losses))
    falling = np.gradient(losses, np.log(rates))[: best + 1] if len(losses) > 1 else [0.0]
    return RangeTest(rates, losses, rates[int(np.argmin(falling))], rates[best] / 10.0)
