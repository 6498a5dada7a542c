"""Every function that calls the model of a run computes products with the run's precision."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.inference import generate, music, predict
from lstm_lab.inference.generate import Sampling
from lstm_lab.models import translation
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.tasks import JSB, CopyMemory, Examples
from lstm_lab.training import gate_stats, outputs
from lstm_lab.training.state import zero_states
from tests.helpers.training import small_spec
from tests.helpers.translation import translation_spec

EXACT = {"model": {"precision": "highest"}, "compute": {"backend": "scan"}}


def calls_of_a_text(spec, params):
    x, states = jnp.zeros((1, 4), jnp.int32), zero_states(spec, params, 1)
    size, key = spec.task.target.size, jax.random.key(0)
    yield outputs._compiled(spec), (params, x, None, {})
    yield gate_stats._compiled(spec), (params, Examples(x, x, None), {})
    yield predict.compiled_step(spec), (params, x, states, jnp.asarray(True))
    yield generate._compiled_read(spec), (params, x, states)
    draw = generate._compiled_draw(spec, Sampling(), size)
    yield draw, (params, jnp.zeros(size), states, key, jnp.int32(0))


def calls_of_music(spec, params):
    draw = music._compiled_draw(spec, 3, Sampling())
    yield draw, (params, zero_states(spec, params, 1), jax.random.key(0))


def calls_of_a_translation(spec, params):
    search = translation._compiled_search(spec, 2, 5)
    yield search, (params, jnp.zeros((1, 4), jnp.int32), jnp.array([4]), {})


@pytest.mark.parametrize("calls", [calls_of_a_text, calls_of_music, calls_of_a_translation])
def test_products_have_the_precision_of_the_run(calls, tmp_path):
    specs = {
        calls_of_a_text: lambda: replace(small_spec(**EXACT), task=CopyMemory(delay=3)),
        calls_of_music: lambda: replace(small_spec(**EXACT), task=JSB()),
        calls_of_a_translation: lambda: translation_spec(tmp_path, **EXACT),
    }
    spec = specs[calls]()
    x = zero_inputs(spec.task, 1, 1)
    shapes = jax.eval_shape(build_model(spec).init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    for function, arguments in calls(spec, params):
        text = function.lower(*arguments).as_text()
        products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert products
        assert all("[HIGHEST, HIGHEST]" in line for line in products)
