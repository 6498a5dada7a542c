"""Runs the analyses of a trained model on its first validation sequences.

In: a finished run and its validation split. Out: an `Explanation`, with the result of each analysis
or the reason why there is none. Sizes are chosen so that 32 units take about a minute on two cores.
Read `fixed_points.py` next, and `page.py` for what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.explain import fixed_points, gradient, lesions, lyapunov, rtrl, signals
from lstm_lab.explain.fixed_points import Attractor, FixedPoint
from lstm_lab.explain.network import Network, StatePlace, Visited, build_network, visit
from lstm_lab.inference.load import Trained
from lstm_lab.tasks import Examples, Split, Tokens, first_examples, longest, rows_that_fit
from lstm_lab.utils.errors import expect_several, unknown
from lstm_lab.utils.progress import Meter

ROWS = 64  # sequences that most analyses read
LESION_ROWS = 256
STARTS = 32  # states from which fixed points are searched, for each input
LYAPUNOV_ROWS, LYAPUNOV_STEPS, MOST_EXPONENTS = 8, 200, 64
SHOWN_STATES = 600  # in the figure, which is a part of the page
# Symbols whose constant input is analyzed, the most frequent ones.
MOST_SYMBOLS = 3
# Larger states have fewer starts: a Jacobian costs the square of their size.
LARGE_STATE = 512

ONE_DIRECTION = "the backward direction reads the future, so no state leads to the next one"
TRANSLATION = "an encoder and a decoder are two networks; only models with one stack are analyzed"


@dataclass(frozen=True)
class ConstantInput:
    """What a network does under one constant input.

    Attributes:
      name: what the input is, such as `symbol 1`.
      points: its fixed and slow points.
      distances: from each point to the nearest visited state, in spreads of the visited states.
      attractors: what the network ends in.
    """

    name: str
    points: list[FixedPoint]
    distances: list[float]
    attractors: list[Attractor]


@dataclass(frozen=True)
class Plane:
    """A plane in the space of states.

    Attributes:
      mean_S: its origin.
      axes_2S: two orthonormal directions; the second is zero for a state of one number.
      share: share of the variance of the visited states in it.
    """

    mean_S: np.ndarray
    axes_2S: np.ndarray
    share: float

    def project(self, s_NS: np.ndarray) -> np.ndarray:
        """Returns states as points of the plane [N,2]."""
        return (s_NS - self.mean_S) @ self.axes_2S.T


@dataclass(frozen=True)
class FixedPoints:
    """The fixed points of a network.

    Attributes:
      inputs: by constant input.
      spread: of the visited states.
      plane: the plane in which the figure shows states.
      visited_N2: some of the visited states in this plane.
    """

    inputs: list[ConstantInput]
    spread: float
    plane: Plane
    visited_N2: np.ndarray


@dataclass(frozen=True)
class LyapunovSpectrum:
    """Lyapunov exponents.

    Attributes:
      exponents_BE: of each sequence, the largest first.
      states: size of the state, of which there may be more exponents than were computed.
      steps: steps of a sequence that were counted, on average.
    """

    exponents_BE: np.ndarray
    states: int
    steps: float


@dataclass(frozen=True)
class GradientByLag:
    """Norms of gradients by lag.

    Attributes:
      inputs_T, states_T: of the last logits with a target, against inputs and states.
    """

    inputs_T: np.ndarray
    states_T: np.ndarray


@dataclass(frozen=True)
class Signals:
    """How units follow signals of the task.

    Attributes:
      matches: by signal.
      places: the place of each number of the state.
      sequences: number of sequences that were permuted.
    """

    matches: list[signals.SignalMatch]
    places: list[StatePlace]
    sequences: int


@dataclass(frozen=True)
class Explanation:
    """What the analyses of a model found.

    Attributes:
      results: by name of the analysis; analyses that were not asked for are absent.
      unavailable: analyses that this model does not have, with the reason.

    Example:
      explanation = explain(trained, dataset.splits["valid"])
      explanation.results["lyapunov"].exponents_BE.mean(0)[0]
    """

    results: dict[str, Any] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What an analysis reads.

    Attributes:
      trained: the run.
      split: its validation data.
      advance: is called with what is computed next.
      network, visited: the network on the first sequences; None for a model without a network.
    """

    trained: Trained
    split: Split
    advance: Callable[[str], None]
    network: Network | None = None
    visited: Visited | None = None

    @property
    def seen(self) -> tuple[Network, Visited]:
        """The network and what it does, for an analysis that needs them."""
        assert self.network is not None
        assert self.visited is not None
        return self.network, self.visited


def explain(
    trained: Trained, split: Split, names: Sequence[str] = (), *, show: bool = True
) -> Explanation:
    """Runs analyses of a model.

    Args:
      trained: the run.
      split: its validation data.
      names: names of `ANALYSES`; empty runs all of them.
      show: whether to show the progress.

    Raises:
      UserError: for an unknown analysis.

    Example:
      >>> dataset = trained.spec.task.load(Path("data"))
      >>> explain(trained, dataset.splits["valid"], ["lesions"]).results["lesions"].intact
    """
    expect_several("analyses", names)
    for name in names:
        if name not in ANALYSES:
            raise unknown("--analyses", name, ANALYSES)
    chosen = [name for name in ANALYSES if not names or name in names]
    unavailable = {n: r for n in chosen if (r := unsupported_reason(trained.spec, n)) is not None}
    results = {}
    with Meter(len(chosen) + 1, "analyses") as meter:

        def advance(text: str, done: float = 0.0) -> None:
            if show:
                meter.advance(done, text)

        subject = Subject(trained, split, advance)
        # Only lesions do without states; float64 is for these alone.
        if set(chosen) - set(unavailable) - {"lesions"}:
            advance("running the model")
            subject = _with_network(subject)
        for name in chosen:
            advance(ANALYSES[name].text, 1.0)
            if name in unavailable:
                continue
            with jax.enable_x64(name != "lesions"):
                result = ANALYSES[name].run(subject)
            if isinstance(result, str):
                unavailable[name] = result
            else:
                results[name] = result
    return Explanation(results, unavailable)


def unsupported_reason(spec: RunSpec, name: str) -> str | None:
    """Returns why an analysis does not apply to the model of a run, or None.

    Args:
      spec: the run.
      name: the analysis.
    """
    if spec.task.source_vocabulary is not None:
        return TRANSLATION
    if name == "lesions":
        return lesions.unsupported_reason(resolve_cell(spec.model))
    return ONE_DIRECTION if spec.model.bidirectional else None


def _examples(split: Split, rows: int) -> Examples:
    return first_examples(split, rows_that_fit(longest(split), rows))


def _with_network(subject: Subject) -> Subject:
    with jax.enable_x64(True):
        network = build_network(subject.trained.spec, subject.trained.params)
        visited = visit(network, _examples(subject.split, ROWS))
    return Subject(subject.trained, subject.split, subject.advance, network, visited)


def _fixed_points(subject: Subject) -> FixedPoints:
    network, visited = subject.seen
    compiled, states_NS = fixed_points.compile_map(network.next_state), visited.states
    spread = fixed_points.spread_of(states_NS)
    rng = np.random.default_rng(0)
    starts = STARTS if states_NS.shape[1] <= LARGE_STATE else STARTS // 4
    start_NS = states_NS[rng.choice(len(states_NS), min(starts, len(states_NS)), replace=False)]
    inputs = []
    for name, x_D in constant_inputs(subject.trained.spec, network, visited).items():
        subject.advance(f"fixed points, {name}")
        attractors = fixed_points.find_attractors(compiled, x_D, start_NS, spread)
        rests = [a.states[0] for a in attractors if a.period == 1][:starts]
        # From states of rest as well, of which the shares do not speak.
        points = fixed_points.find_fixed_points(compiled, x_D, start_NS, spread, rests)
        nearest = [np.linalg.norm(states_NS - p.s_S, axis=1).min() / spread for p in points]
        inputs.append(ConstantInput(name, points, list(map(float, nearest)), attractors))
    plane = principal_plane(states_NS)
    return FixedPoints(inputs, spread, plane, plane.project(states_NS[:SHOWN_STATES]))


def principal_plane(s_NS: np.ndarray) -> Plane:
    """Returns the plane of the first two principal components of states.

    Args:
      s_NS: the states.
    """
    mean_S = s_NS.mean(0)
    _, variance_S, axes_SS = np.linalg.svd(s_NS - mean_S, full_matrices=False)
    shares = np.square(variance_S) / max(np.square(variance_S).sum(), 1e-300)
    axes_2S = np.zeros((2, s_NS.shape[1]))
    axes_2S[: len(axes_SS)] = axes_SS[:2]
    return Plane(mean_S, axes_2S, float(shares[:2].sum()))


def constant_inputs(spec: RunSpec, network: Network, visited: Visited) -> dict[str, np.ndarray]:
    """Returns the constant inputs under which fixed points are searched, by name [D].

    For tokens these are the most frequent symbols, for vectors the zero vector; and for both the
    mean of all inputs.

    Args:
      spec: the run.
      network: its network.
      visited: what it does on its data.
    """
    real_ND = visited.x_BTD[visited.is_real_BT]
    inputs = {"mean input": real_ND.mean(0)}
    if not isinstance(spec.task.inputs, Tokens):
        return inputs | {"zero input": np.zeros_like(real_ND[0])}
    tokens_N = np.asarray(visited.examples.x)[visited.is_real_BT]
    symbols, first, counts = np.unique(tokens_N, return_index=True, return_counts=True)
    # The input of the stack at a place where the symbol stands: its embedding, or one-hot.
    for k in np.argsort(-counts, kind="stable")[:MOST_SYMBOLS]:
        inputs[f"symbol {symbols[k]}"] = real_ND[first[k]]
    return inputs


def _lyapunov(subject: Subject) -> LyapunovSpectrum:
    network, visited = subject.seen
    part = visited.first(LYAPUNOV_ROWS, LYAPUNOV_STEPS)
    # Each sequence turns the basis for its first tenth; one of few steps counts all of them.
    step_T = np.arange(part.is_real_BT.shape[1])
    is_counted_BT = part.is_real_BT & (step_T >= part.lengths[:, None] // 10)
    states = len(network.zero)
    spectrum = lyapunov.lyapunov_spectrum(
        network.next_state,
        np.zeros((len(part.x_BTD), states)),
        part.x_BTD,
        is_counted_BT,
        min(states, MOST_EXPONENTS),
    )
    return LyapunovSpectrum(spectrum, states, float(is_counted_BT.sum(1).mean()))


def _gradient(subject: Subject) -> GradientByLag | str:
    network, visited = subject.seen
    window = gradient.until_last_target(visited, subject.trained.spec.task.target)
    if isinstance(window, str):
        return window
    norms = gradient.gradients_by_lag(network, *window, jax.random.key(0))
    if not all(np.nanmax(norm_T) > 0.0 for norm_T in norms):
        return "the gradient of the last logits is zero at all lags"
    return GradientByLag(*norms)


def _lesions(subject: Subject) -> lesions.Lesions | str:
    trained = subject.trained
    examples = _examples(subject.split, LESION_ROWS)
    result = lesions.lesion_gates(trained.spec, trained.params, examples, subject.advance)
    if not result.lesions:
        # Each gate has its own reason; a cell without gates has none to give.
        return "; ".join(result.refused.values()) or "the cell has no gates"
    return result


def _signals(subject: Subject) -> Signals:
    network, visited = subject.seen
    known = signals.known_signals(subject.trained.spec.task, visited.examples)
    # h and c are what units say and store; the other fields restate them.
    shown = [k for k, place in enumerate(network.places) if place.field in ("h", "c")]
    matches = signals.match_signals(visited.s_BTS[..., shown], visited.is_real_BT, known)
    return Signals(matches, [network.places[k] for k in shown], len(visited.s_BTS))


def _learning_rules(subject: Subject) -> rtrl.LearningRules | str:
    network, visited = subject.seen
    target = subject.trained.spec.task.target
    batch = rtrl.learning_window(network, visited, target)
    return batch if isinstance(batch, str) else rtrl.compare_learning_rules(network, target, batch)


@dataclass(frozen=True)
class Analysis:
    """An analysis.

    Attributes:
      text: what it computes, for the progress.
      run: computes its result, or returns the reason why there is none.
    """

    text: str
    run: Callable[[Subject], Any]


ANALYSES = {
    "fixed_points": Analysis("fixed points", _fixed_points),
    "lyapunov": Analysis("Lyapunov exponents", _lyapunov),
    "gradient": Analysis("gradient by lag", _gradient),
    "lesions": Analysis("lesions of gates", _lesions),
    "signals": Analysis("units and signals", _signals),
    "learning_rules": Analysis("learning rules", _learning_rules),
}
