"""What each contender runs: every kind of work, number formats, and the cases that it serves."""

import jax
import jax.numpy as jnp
import pytest

from lstm_lab.bench.cases import MODELS, Case
from lstm_lab.bench.contenders import default_contenders, numbers
from lstm_lab.bench.jax_work import deviation, network, training
from lstm_lab.bench.ours import auto_choice
from lstm_lab.bench.workloads import build, serves

SMALL = {"B": 4, "T": 6, "D": 5, "H": 8, "vocabulary": 30}
NO_POPULATION = ("forward", "gradient", *MODELS)


@pytest.fixture(autouse=True)
def restore_jax_settings():
    """Restores settings of JAX that a contender changes in its own process."""
    with jax.numpy_rank_promotion("allow"):
        yield
    jax.config.update("jax_default_matmul_precision", None)


@pytest.mark.parametrize("work", ["forward", "gradient", *MODELS, "population"])
@pytest.mark.parametrize(
    "name", ["lstm_lab", "lstm_lab bf16", "lstm_lab fp32", "lstm_lab in turn", "flax", "floor"]
)
def test_every_contender_runs_every_workload(name, work):
    case = Case(work, **SMALL, members=4 if work == "population" else 1)
    if serves(name, case):
        run = build(name, case)
        run()
        run()  # with the state that the first run returned
    else:
        assert (name, work) in (
            *(("floor", w) for w in MODELS),
            *(("lstm_lab in turn", w) for w in NO_POPULATION),
        )


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("work", MODELS)
@pytest.mark.parametrize("name", ["lstm_lab", "flax"])
def test_models_learn_their_batch(name, work, ragged):
    case = Case(work, **SMALL, layers=2, bidirectional=work != "language", ragged=ragged)
    state, data, step = training(name, case)
    step = jax.jit(step)
    losses = []
    for _ in range(20):
        state, loss = step(state, data)
        losses.append(float(loss))
    # The mean over real steps of a model that knows nothing yet.
    assert losses[0] == pytest.approx(float(jnp.log(case.outputs)), rel=0.1)
    assert losses[-1] < losses[0] - 0.01


def test_contender_names_select_the_number_format():
    assert numbers("lstm_lab cudnn") == numbers("torch") == ("float32", False)
    assert numbers("torch fp32") == ("float32", True)
    case = Case("forward", **SMALL)
    for name, dtype in (("lstm_lab bf16", jnp.bfloat16), ("lstm_lab fp32", jnp.float32)):
        params, apply = network(name, case)
        assert apply(params, jnp.ones((4, 6, 5)), None).dtype == dtype


def test_backends_run_only_the_cases_they_support():
    def supporting(cell):
        case = Case("gradient", **SMALL, cell=cell)
        names = default_contenders("backends", "cpu")
        return {name.split()[1] for name in names if serves(name, case)}

    assert supporting("lstm") == supporting("gru") == {"scan", "fused", "native"}
    assert {"scan", "fused", "associative"} <= supporting("minlstm")
    assert "associative" not in supporting("layernorm")
    assert not serves("flax", Case("gradient", **SMALL, cell="vanilla"))


def test_cells_with_masks_draw_them_as_in_training():
    params, apply = network("lstm_lab scan", Case("forward", **SMALL, cell="zoneout"))
    h_BTH = apply(params, jnp.ones((4, 6, 5)), None)
    # Rows with equal inputs differ only by their masks.
    assert not jnp.allclose(h_BTH[0], h_BTH[1])


@pytest.mark.parametrize("cell", ["lstm", "zoneout", "weightdrop"])
def test_the_deviation_from_scan_is_that_of_rounding(cell):
    errors = deviation("lstm_lab fused", Case("gradient", **SMALL, cell=cell))
    assert 0 < errors["gradients"] < 1e-5
    assert errors["outputs"] < 1e-5


def test_a_deviation_from_scan_is_seen(monkeypatch):
    from lstm_lab.bench import ours

    stack = ours.stack

    def wrong_stack(name, case):
        params, apply = stack(name, case)
        factor = 1.0 if "scan" in name else 1.01
        return params, lambda params, x, lengths: factor * apply(params, x, lengths)

    monkeypatch.setattr(ours, "stack", wrong_stack)
    errors = deviation("lstm_lab fused", Case("gradient", **SMALL))
    assert errors["outputs"] == pytest.approx(0.01, rel=1e-2)
    assert errors["gradients"] == pytest.approx(0.01, rel=1e-2)


def test_the_choice_of_auto_serves_the_case():
    for cell in ("lstm", "layernorm", "zoneout", "minlstm"):
        case = Case("gradient", **SMALL, cell=cell)
        assert serves(f"lstm_lab {auto_choice(case)}", case)
