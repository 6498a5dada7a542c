"""The models of the bench are the same in all libraries: parameters, first loss, and learning."""

import math

import jax
import pytest

from lstm_lab.bench import jax_work, torch_peer
from lstm_lab.bench.cases import MODELS, Case
from tests.helpers.peers import import_torch

JAX = ("lstm_lab", "flax", "keras", "haiku", "equinox")
SHAPE = {"B": 4, "T": 6, "D": 5, "H": 8, "layers": 2, "vocabulary": 30}
CASES = [
    Case(work, **SHAPE, bidirectional=both, ragged=ragged)
    for work in MODELS
    for both, ragged in ((False, False), (work != "language", True))  # it would see the next word
]


@pytest.fixture(autouse=True, scope="module")
def keras_on_jax():
    with pytest.MonkeyPatch.context() as patch, jax.numpy_rank_promotion("allow"):
        patch.setenv("KERAS_BACKEND", "jax")
        yield


def expected_parameters(case):
    """Returns the number of parameters with one bias vector per gate."""
    inputs = [case.D, *[case.features] * (case.layers - 1)]
    directions = 1 + case.bidirectional
    cells = sum(directions * 4 * case.H * (D + case.H + 1) for D in inputs)
    embedding = case.vocabulary * case.D if case.reads_words else 0
    return embedding + cells + (case.features + 1) * case.outputs


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.work} {case.label}")
@pytest.mark.parametrize("name", JAX)
def test_jax_libraries_train_the_same_model(name, case):
    state, data, step = jax_work.training(name, case)
    params = state.params if name == "lstm_lab" else state[0]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected_parameters(case)
    step, losses = jax.jit(step), []
    for _ in range(20):
        state, loss = step(state, data)
        losses.append(float(loss))
    assert losses[0] == pytest.approx(math.log(case.outputs), rel=0.1)
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.work} {case.label}")
def test_pytorch_trains_the_same_model(case, monkeypatch):
    torch = import_torch()
    torch.manual_seed(0)
    optimizers, sgd, adam = [], torch.optim.SGD, torch.optim.Adam
    for name, kind in (("SGD", sgd), ("Adam", adam)):

        def keep(parameters, lr, kind=kind):
            optimizers.append(kind(parameters, lr=lr))
            return optimizers[-1]

        monkeypatch.setattr(torch.optim, name, keep)
    step = torch_peer.training(torch, case)
    (optimizer,) = optimizers
    parameters = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    # nn.LSTM has two bias vectors.
    second_biases = 4 * case.H * case.layers * (1 + case.bidirectional)
    assert parameters == expected_parameters(case) + second_biases
    losses = [step().item() for _ in range(20)]
    assert losses[0] == pytest.approx(math.log(case.outputs), rel=0.1)
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.parametrize("work", ["forward", "gradient", "population"])
@pytest.mark.parametrize("name", ["torch", "keras", "haiku", "equinox"])
def test_layers_run(name, work):
    case = Case(work, 4, 6, 5, 8, layers=2, bidirectional=True, ragged=True)
    if name == "torch":
        import_torch()
    module = torch_peer if name == "torch" else jax_work
    run = module.build(name, case)
    run()
    run()
