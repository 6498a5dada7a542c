"""RunSpec: everything that defines a run.

It joins the sections (`sections.py`) with the task and the seeds. `parsing.build_spec` makes it
from a config. It is frozen and hashable, so caches of compiled functions use it as a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lstm_lab.config.sections import ComputeSpec, ModelSpec, OptimSpec, TrainSpec
from lstm_lab.config.validation import check
from lstm_lab.tasks import DIRECTIONS, Split, Task, steps_per_epoch
from lstm_lab.utils.errors import no_examples

SECTIONS: dict[str, type] = {
    "model": ModelSpec,
    "optim": OptimSpec,
    "train": TrainSpec,
    "compute": ComputeSpec,
}


@dataclass(frozen=True)
class RunSpec:
    """A run: what it learns, with which model, how, and from which seeds.

    Attributes:
      task: the task, by `name`, with its options.
      model: the model.
      optim: the optimizer.
      train: the length of training, its batches and its loss.
      seed: the seed of initialization, data order and noise, from 0 to 2^32 - 1.
      init_seed, data_seed, noise_seed: a seed for one of the three purposes; None takes `seed`.
      compute: how it is computed; not part of the run's id.
      cell_sha256: hash of the file that defines the user's cell, or None; set by `build_spec`.
      vectors_sha256: hash of the file of `model.vectors`, or None; set by `build_spec`.
      init_from_sha256: hash of the weights of `model.init_from`, or None; set by `build_spec`.
      task_sha256: hash of the file that defines the user's task, or None; set by `build_spec`.

    Raises:
      ValueError: for a seed out of range, or settings of different sections that exclude each
        other (`validation.py`).
      UserError: for a metric that the task does not have.
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
    init_from_sha256: str | None = None
    task_sha256: str | None = None

    def __post_init__(self) -> None:
        # Not only in `build_spec`: other modules change specs by `replace`, which comes here too.
        check(self)

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
        seeds = {"init": self.init_seed, "data": self.data_seed, "noise": self.noise_seed}
        return {k: self.seed if v is None else v for k, v in seeds.items()}

    def for_tracing(self) -> RunSpec:
        """Returns the spec with the backend `scan`, for a model that is traced and never run.

        Parameters and states have the same shapes with every backend, but tracing `native` builds a
        kernel, which takes seconds.

        Example:
          spec.for_tracing().compute.backend  # "scan"
        """
        return replace(self, compute=replace(self.compute, backend="scan"))

    def schedule_steps(self, train: Split | None) -> tuple[int, int]:
        """Returns the number of training steps, and of steps between two evaluations.

        Args:
          train: the training split; None for a task that generates its training data.

        Raises:
          UserError: for a split without examples. One that is smaller than a batch is one batch.

        Example:
          total, every = spec.schedule_steps(dataset.splits.get("train"))
        """
        epoch = None if train is None else steps_per_epoch(train, self.train.batch_size)
        if epoch == 0:
            raise no_examples("train", self.task.name)
        if self.train.steps is not None:
            total = self.train.steps
        else:
            assert epoch
            assert self.train.epochs
            total = self.train.epochs * epoch
        every = self.train.eval_every or epoch or max(total // 20, 1)
        # At least one evaluation: without any, a run has no best weights and no test score. A run
        # without steps has one, too.
        return total, max(min(every, total), 1)
