"""What the exports to Keras, Flax and Equinox have in common."""

import json

from lstm_lab.interop.exported_model import cell_settings, inputs_text, shared_settings
from lstm_lab.interop.fused_step import step_weights
from lstm_lab.interop.portable import portable_model
from tests.helpers.frameworks import MODELS, run_of


def model_of(cell, name):
    task, settings = MODELS[name]
    return portable_model(run_of(cell, task, **settings))


def test_settings_are_those_of_the_run():
    settings = shared_settings(model_of("lstm", "sum, residual, last step"))
    merge, residual, every_step = (settings[key] for key in ("merge", "residual", "every_step"))
    assert (merge, residual, every_step) == ("sum", True, False)
    assert (settings["embedding"], settings["subtract_last"]) == (4, False)
    assert shared_settings(model_of("lstm", "product, one-hot"))["embedding"] is None
    assert json.loads(json.dumps(settings)) == settings


def test_a_cell_knows_the_shapes_of_its_weights_and_of_its_state():
    layer = model_of("fgr", "sizes").layers[1][0]
    settings = cell_settings(layer)
    assert settings["shapes"] == {n: list(a.shape) for n, a in step_weights(layer).items()}
    assert settings["shapes"]["W"] == [5, 4 * 3]
    assert settings["state_sizes"] == [3, 3, 3 * 3]  # h, c and three gates


def test_inputs_in_words():
    assert inputs_text(model_of("lstm", "tied")) == "tokens [B,T]"
    assert inputs_text(model_of("lstm", "sizes")) == "vectors [B,T,88]"
