"""RunSpec: everything that defines a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from lstm_lab.config.sections import ComputeSpec, ModelSpec, OptimSpec, TrainSpec
from lstm_lab.config.validation import check
from lstm_lab.tasks import DIRECTIONS, Split, Task, steps_per_epoch

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
      train: the length of training and what it minimizes.
      seed: the seed of initialization, data order and noise; each may have its own instead:
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
