"""Statistics of gates and states equal those of the cell's own steps, and reach TensorBoard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells.cell import step
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.build import build_model
from lstm_lab.tasks import Examples
from lstm_lab.training.gate_stats import BINS, LOG10_TIME_RANGE, gate_image, measure_gates
from tests.helpers.tensorboard import read_events
from tests.helpers.training import small_spec, train


def random_model(spec, N=3, T=6, D=2):
    """Returns random parameters of a model, and random examples of three lengths."""
    rng = np.random.default_rng(0)
    lengths = np.array([6, 4, 1], np.int32)
    examples = Examples(rng.normal(size=(N, T, D)).astype(np.float32), np.zeros(N), lengths)
    return build_model(spec).init(jax.random.key(0), examples.x)["params"], examples


def test_gate_stats_equal_those_of_single_steps():
    spec = small_spec(model={"cell": "vanilla", "hidden": 5})
    params, examples = random_model(spec)
    (layer,) = measure_gates(spec, params, examples).values()
    cell, weights = resolve_cell(spec.model), params["lstm"]["layer_0"]
    gates, norms = {name: [] for name in "ifo"}, []
    for x_TD, length in zip(examples.x, examples.lengths, strict=True):
        state = None
        for x_D in x_TD[:length]:
            state, step_gates = step(cell, weights, jnp.asarray(x_D)[None], state)
            norms.append(np.linalg.norm(state.c))
            for name in "ifo":
                gates[name].append(np.asarray(step_gates[name][0]))
    assert layer.c_norm == pytest.approx(np.mean(norms), rel=1e-5)
    for name in "ifo":
        values = np.concatenate(gates[name])
        assert layer.gates[name].mean == pytest.approx(values.mean(), rel=1e-5)
        counts = np.histogram(values, BINS, (0, 1))[0]
        np.testing.assert_array_equal(layer.gates[name].counts, counts)
    times = np.log10(-1 / np.log(np.concatenate(gates["f"])))
    np.testing.assert_array_equal(layer.time_counts, np.histogram(times, BINS, LOG10_TIME_RANGE)[0])
    first_sequence = np.stack(gates["f"][:6])
    np.testing.assert_allclose(layer.maps["f"], first_sequence, rtol=1e-5)


def test_a_large_forget_bias_counts_as_open_gates():
    spec = small_spec(model={"cell": "lstm", "hidden": 4, "forget_bias": 9.0})
    (layer,) = measure_gates(spec, *random_model(spec)).values()
    assert (layer.gates["f"].above, layer.gates["f"].below) == (1.0, 0.0)
    assert layer.time_counts[: BINS // 2].sum() == 0


@pytest.mark.parametrize("cell", ["cifg", "gru", "slstm", "minlstm", "rnn", "lstmp", "fgr"])
def test_gate_stats_support_every_kind_of_cell(cell):
    spec = small_spec(
        model={"cell": cell, "hidden": 4, "layers": 2, "bidirectional": cell != "rnn"}
    )
    layers = measure_gates(spec, *random_model(spec))
    assert len(layers) == (2 if cell == "rnn" else 4)
    assert all((layer.gates == {}) == (cell == "rnn") for layer in layers.values())


def test_gate_images_are_gray_after_the_end_of_a_sequence():
    image = gate_image(np.array([[0.0, 1.0], [np.nan, np.nan]]))
    assert image.shape == (2, 2, 3)
    assert image[:, 1].tolist() == [[128] * 3] * 2
    assert image[1, 0].sum() > image[0, 0].sum()


def test_tensorboard_receives_gate_scalars_histograms_and_images(tmp_path):
    specs = [small_spec(seed=k, compute={"gates": True}) for k in range(2)]
    assert train(specs, tmp_path).status == "completed"
    tags = {}
    for event in read_events(tmp_path / "1"):
        for value in event.summary.value:
            tags.setdefault(value.tag, []).append((event.step, value.WhichOneof("value")))
    gate = "gates/layer_0/f"
    for name in ("mean", "frac_below_0.1", "frac_above_0.9"):
        assert tags[f"{gate}/{name}"] == [(s, "simple_value") for s in (5, 10, 15, 20)]
    assert tags["state/layer_0/c_norm"][-1] == (20, "simple_value")
    assert tags[f"{gate}/values"][0] == (5, "histo")
    assert tags["state/layer_0/log10_time_constant"][0] == (5, "histo")
    assert [kind for _, kind in tags[gate]] == ["image"]
