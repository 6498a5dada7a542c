"""Members of different hidden size in one program equal their lone runs."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.train.parallel import Layout, build_program
from lstm_lab.train.widths import init_padded, refusal
from tests.train.helpers import ragged, small, steps

WIDTHS = (3, 8, 5, 6)


def specs_of(model, make=small):
    base = make(model=model, optim={"momentum": 0.5})
    specs = [
        replace(base, seed=k, model=replace(base.model, hidden=width))
        for k, width in enumerate(WIDTHS)
    ]
    return [replace(s, optim=replace(s.optim, lr=0.1 / (k + 1))) for k, s in enumerate(specs)]


def cut(found, like):
    """Returns the entries that a narrow member has, and asserts that all others are zero."""
    found, zeroed = np.array(found), np.array(found)
    index = np.ix_(
        *(
            np.concatenate([np.arange(n // parts) + k * (m // parts) for k in range(parts)])
            for n, m, parts in (
                (n, m, 2 if n != m and like.bidirectional and n % 2 == 0 and m == 16 else 1)
                for n, m in zip(like.shape, found.shape, strict=True)
            )
        )
    )
    zeroed[index] = 0.0
    assert not zeroed.any()
    return found[index]


class Like:
    def __init__(self, array, bidirectional):
        self.shape, self.bidirectional = array.shape, bidirectional


@pytest.mark.parametrize(
    "model",
    [
        {"cell": "vanilla"},
        {"cell": "cifg", "layers": 2, "dropout": 0.3, "bidirectional": True},
        {"cell": "zoneout"},
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
    specs = specs_of(model)
    dataset = specs[0].task.load(Path("nowhere"))
    program = build_program(specs[1], 10, Layout("members", 2, 4))
    state = init_padded(program, specs, 10)
    data = program.place_data({k: v for k, v in dataset.splits.items() if k != "test"})
    losses = []
    for _ in range(10):
        state, report = program.advance(state, data, jnp.int32(1), jnp.asarray(False))
        losses.append(program.collect(report.loss))
    params = program.collect(state.params)
    for lane, spec in enumerate(specs):
        lone_losses, lone = steps([spec], Layout("single", 1, 1), dataset)
        np.testing.assert_allclose(np.array(losses)[:, lane], lone_losses[:, 0], atol=1e-5)
        mine = jax.tree.map(lambda a, lane=lane: a[lane], params)

        def check(found, wanted):
            found = cut(found, Like(wanted[0], model.get("bidirectional", False)))
            np.testing.assert_allclose(found, wanted[0], atol=1e-5)

        jax.tree.map(check, mine, lone)


def test_what_padding_would_change_is_refused():
    for name, said in (
        ("layernorm", "layer_norm: its mean and variance would see the padding"),
        ("fgr", "gate_recurrence: gates of padded units are 0.5"),
        ("lstmp", "projection: the projected h is not made of units"),
    ):
        specs = specs_of({"cell": name})
        assert said in refusal(specs[0])
        with pytest.raises(ValueError, match="hidden: found 3 beside others"):
            init_padded(build_program(specs[1], 10, Layout("single", 1, 4)), specs, 10)
    assert "widths" in refusal(small(model={"widths": (3, 4)}))
    assert refusal(ragged()) is None
