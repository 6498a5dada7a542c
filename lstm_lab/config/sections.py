"""The sections of a config: ModelSpec, OptimSpec, TrainSpec and ComputeSpec.

Frozen dataclasses with the settings of a run and their defaults. Each section checks the range of
its own settings. validation.py checks settings of different sections against each other;
run_spec.py puts the sections together with the task and the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lstm_lab.cells import masks
from lstm_lab.recurrence import Backend

Merge = Literal["concat", "sum", "mean", "product"]
Attention = Literal["none", "luong", "bahdanau"]
# Settings that are arrays in the compiled program. Runs with different values share a program, so a
# search over these settings compiles once.
HPARAMS = ("lr", "momentum", "weight_decay")
# Numbers of a run are float32 arrays: a larger one would become infinite there.
LARGEST = 3.4e38


@dataclass(frozen=True)
class ModelSpec:
    """The model: embedding, recurrent layers, head.

    Attributes:
      cell: a variant of the catalogue, or FILE.py:NAME for your own spec.
      hidden: hidden units of every layer, and of each direction.
      hidden_sizes: hidden units of each layer, if they differ; replaces `hidden` and `layers`.
      layers: number of stacked layers.
      bidirectional: runs every layer in both directions; in a translation, those of the encoder.
      merge: how the outputs of the two directions are combined.
      dropout: dropout rate between layers.
      dropout_in, dropout_out: dropout rates before the first layer and after the last.
      dropout_words: rate at which words are dropped, with all their occurrences in a batch.
      dropout_words_per: whether a word is dropped in all sequences of a `batch`, as in AWD-LSTM, or
        in each `sequence` on its own, as in the code of Gal and Ghahramani.
      locked: one dropout mask for all steps of a sequence; `dropout_out` of a translation draws one
        mask per step all the same.
      residual: adds the input of a layer to its output, from the second layer on.
      tied: the head uses the matrix of the embedding.
      vectors: text file of word vectors, one word and its numbers per line, from which the
        embedding starts.
      init_from: folder of a finished run, or a .safetensors file, whose weights the model starts
        from where names are equal (docs/how_to/existing_weights.md).
      init_parts: parts of the model that are loaded from it, by the start of their names, such as
        `embed`; empty loads all that both have.
      attention: attention of a decoder to the encoder's outputs (models/encoder_decoder.py).
      embedding: features of a token's embedding; None feeds tokens as one-hot vectors.
      subtract_last: replaces vectors by their difference to the last vector of the sequence, so
        that the model does not see the level (as NLinear, Zeng et al. 2023).
      forget_bias: initial bias of the forget gate; None keeps the variant's.
      init: initializer of the cells and, except in a translation, of the head; uniform(S) and
        normal(S) then draw the embedding too (cells/initializers.py). None keeps the variant's.
      dtype: compute dtype; parameters and cell states stay in float32.
      precision: precision of matrix products, as in `jax.default_matmul_precision`.
      input_noise: standard deviation of Gaussian noise on input vectors in training; None adds
        none. Runs that differ only in this number, or in the following rates, share a program.
      zoneout_c, zoneout_h, recurrent_dropout, input_dropout, weight_drop: rates of the cell's
        regularization; None is the rate of the variant's paper.

    Raises:
      ValueError: for a value out of its range, or settings of the model that exclude each other.
        The message starts with the setting.
    """

    cell: str = "lstm"
    hidden: int = 64
    hidden_sizes: tuple[int, ...] | None = None
    layers: int = 1
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    dropout_in: float = 0.0
    dropout_out: float = 0.0
    dropout_words: float = 0.0
    dropout_words_per: Literal["batch", "sequence"] = "batch"
    locked: bool = False
    residual: bool = False
    tied: bool = False
    vectors: str | None = None
    init_from: str | None = None
    init_parts: tuple[str, ...] = ()
    attention: Attention = "luong"
    embedding: int | None = None
    subtract_last: bool = False
    forget_bias: float | None = None
    init: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    precision: Literal["default", "high", "highest"] = "default"
    input_noise: float | None = None
    zoneout_c: float | None = None
    zoneout_h: float | None = None
    recurrent_dropout: float | None = None
    input_dropout: float | None = None
    weight_drop: float | None = None

    def __post_init__(self) -> None:
        _expect_finite(self)
        for name, value in (
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("embedding", 1 if self.embedding is None else self.embedding),
            *((f"hidden_sizes[{k}]", width) for k, width in enumerate(self.hidden_sizes or ())),
        ):
            if value < 1:
                raise ValueError(f"{name}: got {value}, expected 1 or more")
        if self.hidden_sizes is not None and not self.hidden_sizes:
            raise ValueError("hidden_sizes: got (), expected one width or more")
        # `layers` may keep its default 1. Any other value must agree with `hidden_sizes`.
        if self.hidden_sizes is not None and self.layers not in (1, len(self.hidden_sizes)):
            sizes = len(self.hidden_sizes)
            raise ValueError(f"hidden_sizes: got {sizes} sizes for {self.layers} layers")
        # Below 1: dropout divides what it keeps by 1 - rate.
        for name in ("dropout", "dropout_in", "dropout_out", "dropout_words", *masks.RATES):
            rate = getattr(self, name)
            if rate is not None and not 0.0 <= rate < 1.0:
                raise ValueError(f"{name}: got {rate}, expected 0 or more and below 1")
        if self.input_noise is not None and self.input_noise < 0.0:
            raise ValueError(f"input_noise: got {self.input_noise}, expected 0 or more")
        # It would have no effect, and a comparison of rates would find no difference.
        if self.dropout and len(self.layer_widths) == 1:
            raise ValueError("dropout: acts between layers, and the model has one layer")
        if self.merge != "concat" and not self.bidirectional:
            raise ValueError(f"merge: got {self.merge}, expected model.bidirectional with it")
        for name in ("dropout_words", "tied", "vectors"):
            if getattr(self, name) and self.embedding is None:
                raise ValueError(f"{name}: needs an embedding")
        if self.init_parts and self.init_from is None:
            raise ValueError("init_parts: got parts to load, but init_from names no weights")
        # An input can only be added to an output of the same width.
        if self.residual and len(set(self.layer_widths)) > 1:
            raise ValueError(f"residual: needs equal widths, got {self.layer_widths}")

    @property
    def joined_directions(self) -> int:
        """Number of directions that are concatenated in the output of a layer."""
        return 2 if self.bidirectional and self.merge == "concat" else 1

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Hidden units of each layer."""
        return self.hidden_sizes or (self.hidden,) * self.layers


@dataclass(frozen=True)
class OptimSpec:
    """The optimizer and the learning rate.

    Attributes:
      name: the optimizer.
      lr: learning rate at the peak of the schedule.
      momentum: momentum of sgd.
      nesterov: uses Nesterov's form of the momentum.
      evaluate_at: the weights of sgd with `nesterov` that are evaluated and kept: those at its
        `lookahead`, where the next gradient is taken, or the `position` before it (as in
        brainstorm).
      dampening: scales the gradient of sgd by 1 - momentum, so that momentum does not lengthen the
        steps.
      beta1, beta2, eps: of adam and adamw; rmsprop decays by beta2.
      clip: largest global norm of the gradient; None does not clip.
      weight_decay: added to the gradient (L2), or with adamw to the update.
      weight_decay_on: `gradient`, or `weights`, which are multiplied by 1 - weight_decay after each
        update, whatever the learning rate.
      schedule: the learning rate after the warm-up: constant; linear or cosine to `final_lr`;
        one_cycle, which rises from lr / 25 over the first 30 % of the steps and then falls (Smith
        2018); or exponential, which multiplies by `decay_rate` every `decay_steps`. Steps of a
        schedule are updates (see `accumulate`).
      warmup_steps: number n of updates in which the learning rate rises from lr / n to lr.
      final_lr: last learning rate of linear and cosine, as a fraction of `lr`.
      decay_rate, decay_steps: of exponential.
      decay_begin: steps before exponential starts to fall.
      decay_unit: what `decay_steps` and `decay_begin` count: updates, or epochs of `train.epochs`.
      plateau: evaluations without improvement after which the learning rate falls; None never.
      plateau_factor: factor by which it falls.
      average: n of NT-ASGD (Merity et al. 2018): weight averaging starts when an evaluation is
        worse than the best of all evaluations except the last n; None never averages.
      accumulate: number of batches whose gradients are averaged into one update.
      freeze: parts of the model that are not trained, by the start of their names, such as `embed`.
      staircase: exponential falls in one step every `decay_steps`, as in Zaremba et al. 2014.

    Raises:
      ValueError: for a value out of its range, or an option that the optimizer or the schedule does
        not have.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    nesterov: bool = False
    dampening: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip: float | None = 1.0
    weight_decay: float = 0.0
    weight_decay_on: Literal["gradient", "weights"] = "gradient"
    schedule: Literal["constant", "linear", "cosine", "one_cycle", "exponential"] = "constant"
    warmup_steps: int = 0
    final_lr: float = 0.0
    decay_rate: float = 0.5
    decay_steps: int = 1000
    decay_begin: int = 0
    decay_unit: Literal["update", "epoch"] = "update"
    staircase: bool = False
    plateau: int | None = None
    plateau_factor: float = 0.5
    average: int | None = None
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    evaluate_at: Literal["lookahead", "position"] = "lookahead"

    def __post_init__(self) -> None:
        _expect_finite(self)
        for name in ("momentum", "beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more, below 1")
        for name, value, allowed in (
            ("lr", self.lr > 0.0, "above 0"),
            ("eps", self.eps > 0.0, "above 0"),
            ("clip", self.clip is None or self.clip > 0.0, "above 0, or none"),
            ("weight_decay", self.weight_decay >= 0.0, "0 or more"),
            ("warmup_steps", self.warmup_steps >= 0, "0 or more"),
            ("final_lr", 0.0 <= self.final_lr <= 1.0, "0 to 1"),
            ("decay_rate", 0.0 < self.decay_rate <= 1.0, "above 0, up to 1"),
            ("decay_steps", self.decay_steps >= 1, "1 or more"),
            ("decay_begin", self.decay_begin >= 0, "0 or more"),
            ("plateau", self.plateau is None or self.plateau >= 1, "1 or more, or none"),
            ("plateau_factor", 0.0 < self.plateau_factor < 1.0, "above 0, below 1"),
            ("average", self.average is None or self.average >= 1, "1 or more, or none"),
            ("accumulate", self.accumulate >= 1, "1 or more"),
        ):
            if not value:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {allowed}")
        # The other optimizers would ignore them, and the run would seem to use them.
        if self.name != "sgd" and (self.momentum or self.nesterov or self.dampening):
            raise ValueError(f"momentum, nesterov, dampening: only sgd has them, got {self.name}")
        if self.name == "adamw" and self.weight_decay_on == "weights":
            raise ValueError("weight_decay_on: adamw adds its decay to the update")
        self._check_schedule()
        if self.evaluate_at == "position":
            self._check_position()

    def _check_schedule(self) -> None:
        # Not the steps of exponential: its configs become constant by two settings.
        for name, neutral, schedules in (
            ("final_lr", 0.0, ("linear", "cosine")),
            ("decay_rate", 0.5, ("exponential",)),
        ):
            value = getattr(self, name)
            if value != neutral and self.schedule not in schedules:
                raise ValueError(
                    f"{name}: got {value}, which the schedule {self.schedule} does not read; set "
                    f"optim.schedule={' or '.join(schedules)}, or optim.{name}={neutral:g}"
                )

    def _check_position(self) -> None:
        if not self.nesterov:
            raise ValueError("evaluate_at: got position, which differs only with optim.nesterov")
        # Their weights are no steps of the momentum alone.
        for name in ("accumulate", "average", "weight_decay_on"):
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default:
                raise ValueError(f"evaluate_at: got position, expected no optim.{name} with it")

    @property
    def counts_epochs(self) -> bool:
        """Whether the schedule depends on the length of an epoch."""
        return self.schedule == "exponential" and self.decay_unit == "epoch"


@dataclass(frozen=True)
class TrainSpec:
    """The length of the training, its batches, and how the best weights are chosen.

    Attributes:
      batch_size: sequences per step.
      steps: training steps, one batch each; 0 evaluates the weights with which the run begins. Set
        either steps or epochs.
      epochs: passes over the training split, for tasks that have one.
      eval_every: steps between evaluations; None is one epoch, or a twentieth of `steps` for a task
        that generates its training data.
      patience: evaluations without improvement after which the run stops; None never stops it.
      metric: validation metric that chooses the best weights; None is the metric of the task.
      label_smoothing: share of a target's probability that the loss spreads evenly over all
        classes.
      activation_reg, temporal_reg: weights of the penalties on the outputs of the last layer and
        on their change from step to step (AR and TAR, Merity et al. 2017).
      bucket: puts sequences of similar length into a batch; on a CPU, the batch is then computed
        only up to about its longest sequence.
      loss_reduction: `mean` averages over all predictions; `sum_time_mean_batch` sums over time
        and averages over sequences.
      on_nan: what happens if the loss is not finite: `stop` ends the run as diverged; `rollback`
        goes back to the last evaluation at which all was well, with a lower learning rate. The
        state then holds a second copy of the weights and of the optimizer's state.
      rollback_factor: factor by which a rollback multiplies the learning rate.
      rollback_limit: number of rollbacks after which the next fault ends the run.

    Raises:
      ValueError: for a value out of its range, or unless exactly one of steps and epochs is set.
    """

    batch_size: int = 32
    steps: int | None = None
    epochs: int | None = None
    eval_every: int | None = None
    patience: int | None = None
    metric: str | None = None
    label_smoothing: float = 0.0
    activation_reg: float = 0.0
    temporal_reg: float = 0.0
    bucket: bool = False
    loss_reduction: Literal["mean", "sum_time_mean_batch"] = "mean"
    on_nan: Literal["stop", "rollback"] = "stop"
    rollback_factor: float = 0.5
    rollback_limit: int = 3

    def __post_init__(self) -> None:
        _expect_finite(self)
        for name in ("rollback_limit", "batch_size", "steps", "epochs", "eval_every", "patience"):
            value, least = getattr(self, name), 0 if name == "steps" else 1
            if value is not None and value < least:
                raise ValueError(f"{name}: got {value}, expected {least} or more")
        for name in ("activation_reg", "temporal_reg"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more")
        if not 0.0 < self.rollback_factor < 1.0:
            raise ValueError(
                f"rollback_factor: got {self.rollback_factor}, expected above 0, below 1"
            )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(
                f"label_smoothing: got {self.label_smoothing}, expected 0 or more, below 1"
            )
        # Without a default: the right length depends on the task.
        if (self.steps is None) == (self.epochs is None):
            other = "set one of them" if self.steps is None else "set the other one to None"
            raise ValueError(
                f"steps, epochs: got {self.steps} and {self.epochs}, expected exactly one of them; "
                f"{other}"
            )

    @property
    def penalized(self) -> bool:
        """Whether the loss has penalties on outputs."""
        return bool(self.activation_reg or self.temporal_reg)


@dataclass(frozen=True)
class ComputeSpec:
    """How a run is computed and logged. It does not change the result, so the id leaves it out.

    Attributes:
      backend: backend of the recurrence; `auto` takes the fastest measured one.
      devices: number of local devices; None uses all. For a single run it has to divide the batch.
      checkpoint_seconds: least time between checkpoints in seconds; 0 saves at every evaluation.
      log_every: steps of one line of training metrics in metrics.jsonl; fewer before an evaluation.
      gates: writes statistics of gates and states to TensorBoard at every evaluation.

    Raises:
      ValueError: for a value out of its range.
    """

    backend: Backend = "auto"
    devices: int | None = None
    checkpoint_seconds: float = 30.0
    log_every: int = 200
    gates: bool = False

    def __post_init__(self) -> None:
        _expect_finite(self)
        for name, value, least in (
            ("devices", self.devices, 1),
            ("checkpoint_seconds", self.checkpoint_seconds, 0),
            ("log_every", self.log_every, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name}: got {value}, expected {least} or more")


def is_finite(value: float) -> bool:
    """Returns whether a number stays finite as float32.

    Example:
      is_finite(1e39)  # False
    """
    return abs(value) <= LARGEST


def _expect_finite(section: object) -> None:
    """Raises ValueError for a setting that is infinite or not a number."""
    for name, value in vars(section).items():
        if isinstance(value, float) and not is_finite(value):
            raise ValueError(f"{name}: got {value}, expected a finite number")
