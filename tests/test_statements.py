"""What the texts say about LSTMs is true, and statements that were corrected do not come back.

Statements about the equations are computed here from the package; those about published figures
can only be searched for.
"""

import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, get_variant
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.recurrence import unroll
from tests.helpers.paths import ROOT

T, B, D, H = 40, 16, 8, 64

# Each pattern with the reason why it is wrong.
WRONG = {
    r"c\s+can\s+only\s+grow|只增不减": "without a forget gate, c adds i * g, of either sign",
    r"`nfg` is that cell|`nfg` 就是": "nfg has peepholes and full gradients; the cell of 1997 not",
    r"nothing against exploding|梯度爆炸无能为力": "the path through c cannot explode if f <= 1",
    r"power of n\b|幂次": "a product of n Jacobians changes exponentially in n",
    r"counts? within the word|数着词内": "a correlation of -0.56 does not show that a cell counts",
    r"forget bias 1,? as in PyTorch": "PyTorch draws all biases from U(-1/sqrt(H), 1/sqrt(H))",
    r"0\.82 to 0\.88|reports of users|users' reports": "the figures are Keras' own",
    r"authors'\s+log": "115.91 is in TensorFlow's tutorial; the authors' repository says 115",
    r"`np` reaches as far|看得一样远": "with the forget bias of lstm, np keeps half as much",
    r"my_cell\.py:mgu": "the example cell is not the published MGU (Zhou et al. 2016)",
}


def text_files():
    """Returns the files of the project that a person reads, except the history and archives."""
    names = ("README.md", "CONTRIBUTING.md")
    folders = ("docs", "lstm_lab", "configs", "experiments")
    found = [path for name in folders for path in (ROOT / name).rglob("*")]
    kinds, skipped = {".md", ".py", ".rst", ".j2", ".ipynb"}, {"results", "_generated"}
    return [
        *(ROOT / name for name in names),
        *(p for p in found if p.suffix in kinds and not skipped & {*p.relative_to(ROOT).parts[:2]}),
    ]


@pytest.mark.parametrize("pattern", WRONG)
def test_corrected_statements_do_not_come_back(pattern):
    wrong = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in text_files()
        for match in re.finditer(pattern, path.read_text())
    ]
    assert not wrong, f"{wrong}: {WRONG[pattern]}"


def draw(name, scale=1.0):
    spec = get_variant(name).spec
    params = dict(spec.cell.init(spec, jax.random.key(0), D, H))
    return spec, params | {"wh": scale * params["wh"]}


def inputs(size=1.0):
    return size * jax.random.normal(jax.random.key(1), (T, B, D))


def gradient_by_step(spec, params, x_TBD):
    grads = jax.grad(lambda x: unroll(spec, params, x, backend="scan").h[-1].sum())(x_TBD)
    return np.linalg.norm(grads, axis=(1, 2))


def test_without_a_forget_gate_c_adds_values_of_either_sign():
    spec, params = draw("nfg")
    traced = unroll(spec, params, inputs(), trace=("i", "g", "c"), backend="scan").traced
    changes = np.diff(np.asarray(traced["c"]), axis=0)
    np.testing.assert_allclose(changes, (traced["i"] * traced["g"])[1:], atol=1e-5)
    assert 0.3 < (changes < 0).mean() < 0.7


def test_nfg_differs_from_the_cell_of_1997_by_its_peepholes():
    assert get_variant("nfg").spec.peephole == "io"


def test_the_direct_path_through_c_cannot_explode():
    """With h cut off from the gates, the gradient of c is the product of f, which is at most 1."""
    spec, params = draw("lstm", scale=0.0)
    x_TBD, start = inputs(), unroll(spec, params, inputs()[:1]).final

    def last(c):
        return unroll(spec, params, x_TBD, start._replace(c=c), backend="scan").final.c.sum()

    f = unroll(spec, params, x_TBD, start, trace=("f",), backend="scan").traced["f"]
    gradient = jax.grad(last)(start.c)
    np.testing.assert_allclose(gradient, jnp.prod(f, axis=0), rtol=1e-4)
    assert float(gradient.max()) <= 1.0


def test_the_path_through_h_can_explode():
    spec, params = draw("lstm", scale=5.0)
    norms = gradient_by_step(spec, params, inputs(0.1))
    assert norms[0] > 1000 * norms[-1]


def test_the_gradient_of_an_rnn_changes_exponentially():
    """The logarithm of its norm is a straight line over the lag, and not over the lag's log."""
    norms = gradient_by_step(*draw("rnn"), inputs())
    lags, logs = np.arange(5, T), np.log(norms[::-1])[5:]
    straight = np.corrcoef(lags, logs)[0, 1] ** 2
    assert straight > 0.99 > np.corrcoef(np.log(lags), logs)[0, 1] ** 2


def test_with_the_forget_bias_of_lstm_np_keeps_half_as_much_of_the_gradient():
    """The share that remains from the last step to the first one, as the tutorial computes it."""

    def share(spec, key):
        params = spec.cell.init(spec, key, D, H)
        grads = jax.grad(lambda x: unroll(spec, params, x, backend="scan").h[-1].sum())(inputs())
        return jnp.linalg.norm(grads[0]) / jnp.linalg.norm(grads[-1])

    keys = jnp.stack([jax.random.key(seed) for seed in range(100)])
    specs = replace(get_variant("np").spec, forget_bias=1.0), get_variant("lstm").spec
    of_np, of_lstm = (jax.jit(jax.vmap(partial(share, spec)))(keys) for spec in specs)
    ratio = np.asarray(of_np / of_lstm)
    limits = [ratio.min(), np.median(ratio), ratio.max()]
    np.testing.assert_allclose(limits, [0.2, 0.5, 1.9], atol=0.05)


def test_lstm_starts_with_the_biases_of_keras():
    params = draw("lstm")[1]
    np.testing.assert_array_equal(params["b"], np.array([0.0, 1.0, 0.0, 0.0])[:, None] * np.ones(H))
    # PyTorch draws two biases, which it adds; `init="uniform"` draws their sum.
    uniform = resolve_cell(ModelSpec(cell="np", init="uniform"))
    b = np.asarray(uniform.cell.init(uniform, jax.random.key(0), D, H)["b"])
    assert np.abs(b).max() < 2 * H**-0.5
    assert (np.abs(b).max(1) > 1.2 * H**-0.5).all()


@pytest.mark.parametrize(("init", "t_max"), [(None, 784), ("chrono(100)", 100)])
def test_chrono_draws_biases_for_lags_up_to_784_unless_set(init, t_max):
    spec = resolve_cell(ModelSpec(cell="chrono", init=init))
    b = np.asarray(spec.cell.init(spec, jax.random.key(0), 1, 400)["b"])
    longest = np.exp(b[1]).max() + 1
    assert 0.98 * t_max < longest <= t_max
    np.testing.assert_array_equal(b[0], -b[1])


def test_np_starts_with_random_biases_near_0():
    _, params = draw("np")
    assert 0.05 < np.asarray(params["b"]).std() < 0.15


def test_the_catalogue_names_the_default_of_chrono():
    assert CATALOGUE["chrono"].spec.init == "chrono(784)"
    assert "784" in CATALOGUE["chrono"].change
