"""Members of different hidden size in one program give the results of their lone runs."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.models.build import build_model
from lstm_lab.models.regularization import Regularization
from lstm_lab.training.layout import Layout
from lstm_lab.training.padding import mask_padding, pad, unit_axes, unsupported_reason
from lstm_lab.training.parallel import build_program, unpad
from lstm_lab.training.reports import REPORT
from tests.helpers.training import assert_close, ragged_spec, run_steps, small_spec, state_with_runs

WIDTHS = (3, 8, 5, 6)


def specs_by_hidden_size(model, make=small_spec):
    base = make(model=model, optim={"momentum": 0.5})
    specs = [
        replace(base, seed=k, model=replace(base.model, hidden=width))
        for k, width in enumerate(WIDTHS)
    ]
    return [replace(s, optim=replace(s.optim, lr=0.1 / (k + 1))) for k, s in enumerate(specs)]


@pytest.mark.parametrize(
    "model",
    [
        {"cell": "vanilla"},
        {"cell": "cifg", "layers": 2, "dropout": 0.3, "bidirectional": True},
        {"cell": "zoneout"},
        {"cell": "fgr"},
        {"cell": "mgu"},
        *(
            pytest.param(model, marks=pytest.mark.slow)
            for model in (
                {"cell": "gru"},
                {"cell": "slstm"},
                {"cell": "minlstm", "layers": 2},
                {"cell": "variational", "layers": 2},
                {"cell": "weightdrop"},
                {"cell": "multiplicative"},
            )
        ),
    ],
    ids=lambda m: m["cell"],
)
def test_padded_members_equal_lone_runs(model):
    specs = specs_by_hidden_size(model)
    dataset = specs[0].task.load(Path("nowhere"))
    layout = Layout("members", 2, 4, width=9)
    program = build_program(specs[1], 10, layout)
    state = state_with_runs(program, specs, 10)
    data = program.place_data({k: v for k, v in dataset.splits.items() if k != "test"})
    losses = []
    for _ in range(10):
        state, report = program.run_chunk(state, data, jnp.int32(1), jnp.int32(REPORT))
        losses.append(program.collect(report.loss))
    params = program.collect(state.params)
    for lane, spec in enumerate(specs):
        lone_losses, lone_params = run_steps([spec], Layout("single", 1, 1), dataset)
        np.testing.assert_allclose(np.array(losses)[:, lane], lone_losses[:, 0], atol=1e-5)
        padded = jax.tree.map(lambda a, lane=lane: a[lane], params)
        axes = unit_axes(replace(spec, model=replace(spec.model, hidden=9)))
        jax.tree.map(
            np.testing.assert_array_equal, mask_padding(axes, padded, spec.model.hidden), padded
        )
        assert_close(unpad(layout, spec, padded), jax.tree.map(lambda a: a[0], lone_params))


def test_models_that_padding_would_change_are_rejected():
    for name, message in (
        ("layernorm", "layer_norm: its mean and variance would include the padding"),
        ("lstmp", "projection: the projected h has no units"),
    ):
        assert message in unsupported_reason(small_spec(model={"cell": name}))
    assert "hidden_sizes" in unsupported_reason(small_spec(model={"hidden_sizes": (3, 4)}))
    assert unsupported_reason(ragged_spec()) is None


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"dropout_out": 0.5}, "dropout_out: its mask covers both directions"),
        ({"cell": "variational", "layers": 2}, "input_dropout: its mask covers both directions"),
        ({"dropout_out": 0.5, "merge": "sum"}, None),
        ({"dropout": 0.5, "layers": 2}, None),
        ({"cell": "variational"}, None),
        ({"cell": "variational", "layers": 2, "bidirectional": False}, None),
    ],
)
def test_masks_over_both_directions_are_not_padded(model, reason):
    """A model that may be padded computes the same with padding, and one that may not does not."""
    narrow, wide = (
        build_model(spec)
        for spec in (
            small_spec(
                model={"bidirectional": True, **model, "hidden": hidden},
                compute={"backend": "scan"},
            )
            for hidden in (3, 5)
        )
    )
    refused = unsupported_reason(small_spec(model={"bidirectional": True, **model}))
    assert refused is None if reason is None else reason in refused
    key, x = jax.random.key(0), jax.random.normal(jax.random.key(1), (8, 6, 2))
    regularization = Regularization({}, key, jax.random.split(key, 8))
    params = jax.device_get(narrow.init(key, x)["params"])
    padded = pad(params, 3, 5, jax.eval_shape(wide.init, key, x)["params"])
    lone, other = (
        m.apply({"params": p}, x, None, regularization)
        for m, p in ((narrow, params), (wide, padded))
    )
    assert np.allclose(lone, other, atol=1e-6) == (reason is None)
