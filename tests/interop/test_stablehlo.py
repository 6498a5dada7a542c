"""Exported programs give the outputs of the model, also in a process that knows only JAX."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from jax import export

from lstm_lab.cells import CATALOGUE
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.export import export_run
from lstm_lab.interop.stablehlo import (
    PLATFORMS,
    export_program,
    form,
    model_program,
    step_program,
    write,
)
from lstm_lab.interop.targets import NO_OPTIONS
from lstm_lab.interop.trained_equations import trained_equations
from lstm_lab.models.build import build_model
from lstm_lab.tasks.datasets.translation import Translation
from lstm_lab.training.state import zero_states
from tests.helpers.explain import SCAN, trained
from tests.helpers.training import assert_close, small_spec

B, T = 3, 5
LENGTHS = np.array([5, 1, 3], np.int32)


def with_own_equations():
    """Returns the variants of the catalogue that differ in the equations of a trained model."""
    found = {}
    for name, variant in CATALOGUE.items():
        found.setdefault(trained_equations(variant.spec, default_rates(variant.spec)), name)
    return list(found.values())


def run_of(**model):
    return trained(small_spec(model={"hidden": 4, "layers": 2, **model}, **SCAN))


def tagged_run(**model):
    """Returns a model that reads symbols and answers at every step."""
    task = {"name": "dyck", "length": 8, "valid_size": 4, "test_size": 4}
    return trained(small_spec(task=task, model={"hidden": 4, "layers": 2, **model}, **SCAN))


def random_inputs(run, rows=B, steps=T):
    numbers = np.random.default_rng(2)
    if hasattr(run.spec.task.inputs, "vocabulary"):
        return numbers.integers(0, run.spec.task.inputs.vocabulary, (rows, steps)).astype(np.int32)
    return numbers.normal(size=(rows, steps, run.spec.task.inputs.features)).astype(np.float32)


def random_states(run, rows=B):
    """Returns initial states by layer and direction, and the same by name."""
    numbers = np.random.default_rng(3)
    zeros = zero_states(run.spec, run.params, rows)
    states = jax.tree.map(lambda a: numbers.uniform(0.1, 0.9, a.shape).astype(a.dtype), zeros)
    return states, named(states)


def named(states):
    """Returns states under the names that a program uses."""
    return {
        f"layer_{layer}{'_reverse' * direction}.{field}": array
        for layer, row in enumerate(states)
        for direction, state in enumerate(row)
        for field, array in state._asdict().items()
        if array is not None
    }


def reference(run, x, lengths=None, states=None, is_start=None):
    apply = partial(build_model(run.spec).apply, {"params": run.params}, method="logits_and_states")
    # Compiled: bfloat16 is rounded after every operation otherwise.
    outputs, final = jax.jit(apply)(x, lengths, None, states, is_start)
    return outputs, named(final)


def loaded(program, platforms=PLATFORMS):
    """Returns a program as another process reads it."""
    return export.deserialize(export_program(program, platforms).serialize())


@pytest.mark.parametrize("cell", with_own_equations())
def test_a_program_equals_the_model(cell):
    run = run_of(cell=cell)
    x, (states, by_name) = random_inputs(run), random_states(run)
    assert form(CATALOGUE[cell].spec) == "program"
    got = loaded(model_program(run)).call(x, LENGTHS, by_name, False)
    assert_close(got, reference(run, x, LENGTHS, states))


@pytest.mark.parametrize("cell", ["peephole", "slstm"])
def test_steps_of_a_stream_equal_the_whole_sequence(cell):
    run = run_of(cell=cell)
    x, (_, states) = random_inputs(run), random_states(run)
    step = loaded(step_program(run))
    for t in range(T):
        outputs, states = step.call(x[:, t], states, t == 0)
    assert_close((outputs, states), reference(run, x))


def test_a_stream_answers_at_every_step():
    run = tagged_run(cell="gru", embedding=4, tied=True, residual=True)
    x, (_, states) = random_inputs(run), random_states(run)
    step, outputs = loaded(step_program(run)), []
    for t in range(T):
        answer, states = step.call(x[:, t], states, t == 0)
        outputs.append(answer)
    assert_close(np.stack(outputs, 1), reference(run, x)[0])


@pytest.mark.parametrize(
    "run",
    [
        tagged_run(cell="lstm", bidirectional=True),
        run_of(cell="cifg", bidirectional=True, merge="mean", hidden_sizes=(4, 4), residual=True),
        run_of(cell="lstm", subtract_last=True),
        tagged_run(cell="lstm", embedding=3, dtype="bfloat16"),
    ],
    ids=["both directions", "mean of directions", "subtract_last", "bfloat16"],
)
def test_whole_models_of_any_size_of_batch(run):
    program = loaded(model_program(run))
    for rows, steps, is_start in ((B, T, False), (2, 9, True)):
        x, (states, by_name) = random_inputs(run, rows, steps), random_states(run, rows)
        got = program.call(x, LENGTHS[:rows], by_name, is_start)
        assert_close(got, reference(run, x, LENGTHS[:rows], states, is_start))


def test_padding_never_changes_a_result():
    run = run_of(cell="lstm", bidirectional=True)
    program, x, (_, states) = loaded(model_program(run)), random_inputs(run), random_states(run)
    padded = x.copy()
    for row, length in zip(padded, LENGTHS, strict=True):
        row[length:] = 1e3
    calls = [program.call(values, LENGTHS, states, True) for values in (x, padded)]
    jax.tree.map(np.testing.assert_array_equal, *calls)


CELL = """
from dataclasses import replace
import jax.numpy as jnp
from lstm_lab.cells import CellSpec
from lstm_lab.cells.gated import GATED_LSTM

def pointwise(spec, params, zx, zh, state, noise=None):
    state, gates = GATED_LSTM.pointwise(spec, params, zx, zh, state, noise)
    return state._replace(h=jnp.cumsum(state.h, 1)), gates

def initial(spec, params, zx, dtype):
    state = GATED_LSTM.initial(spec, params, zx, dtype)
    return state._replace(c=state.c + 0.5)

cell = CellSpec(cell=replace(GATED_LSTM, pointwise=pointwise, initial=initial))
"""


def test_a_users_cell_keeps_its_own_first_state(tmp_path):
    (tmp_path / "mine.py").write_text(CELL)
    run = run_of(cell=f"{tmp_path / 'mine.py'}:cell")
    x, (_, states) = random_inputs(run), random_states(run)
    got = loaded(model_program(run)).call(x, LENGTHS, states, True)
    assert_close(got, reference(run, x, LENGTHS))


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_a_translation_is_exported_as_one_program(attention, tmp_path):
    run = translation_run(attention)
    usage = write(run, tmp_path, NO_OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.jax_export", "model.mlirbc"]
    numbers = np.random.default_rng(0)
    x = numbers.integers(0, 9, (2, 10)).astype(np.int32)
    source = numbers.integers(0, 8, (2, 12)).astype(np.int32)
    lengths = np.array([12, 9], np.int32)
    expected = build_model(run.spec).apply({"params": run.params}, x, source=(source, lengths))
    names = {"x": x, "source": source, "source_lengths": lengths}
    assert_close(run_usage(usage, tmp_path, names, ["logits"])["logits"], expected)


def translation_run(attention):
    spec = tagged_run(cell="lstm", embedding=3).spec
    task = Translation("a.en", "a.de", source_vocabulary=8, vocabulary=9)
    return trained(replace(spec, task=task, model=replace(spec.model, attention=attention)))


def run_usage(usage, folder, inputs, results):
    """Runs the Python of a usage text in a process that has neither lstm_lab nor Flax.

    `inputs` replaces its example arrays. Returns its variables `results`.
    """
    code = "\n".join(re.findall(r"```python\n(.*?)```", usage, re.S))
    for name, array in inputs.items():
        np.save(folder / f"{name}.npy", array)
        load = f"{name} = np.load('{name}.npy')"
        code, changed = re.subn(rf"^{name} = .*$", load, code, flags=re.M)
        assert changed == 1, name
    hidden = "import sys\nfor name in ('lstm_lab', 'flax'):\n    sys.modules[name] = None\n"
    saved = ", ".join(f"{name}={name}" for name in results)
    (folder / "usage.py").write_text(f"{hidden}{code}\nnp.savez('results.npz', {saved})\n")
    command = [sys.executable, "-W", "error", "usage.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "results.npz")


def test_a_process_without_the_package_runs_what_the_usage_says(tmp_path):
    run = tagged_run(cell="peephole", embedding=3)
    usage = write(run, tmp_path, NO_OPTIONS)
    x, lengths = random_inputs(run, 2, 10), np.array([10, 7], np.int32)
    got = run_usage(usage, tmp_path, {"x": x, "lengths": lengths}, ["outputs"])["outputs"]
    # The usage text reads the sequences, and then their first step once more.
    final = reference(run, x, lengths)[1]
    zeros = zero_states(run.spec, run.params, 2)
    states = jax.tree.unflatten(jax.tree.structure(zeros), [final[name] for name in named(zeros)])
    assert_close(got, reference(run, x[:, :1], None, states)[0][:, 0])


def test_a_program_has_no_call_of_ours_and_no_path_of_ours(tmp_path):
    run, limit = run_of(cell="lstm"), jax.config.values["jax_traceback_in_locations_limit"]
    spec = replace(run.spec, compute=replace(run.spec.compute, backend="native"))
    export_run(replace(run, spec=spec), "stablehlo", tmp_path / "out")
    assert jax.config.values["jax_traceback_in_locations_limit"] == limit
    files = [path for path in (tmp_path / "out").iterdir() if path.suffix != ".json"]
    assert len(files) == 4
    assert not any(b".py" in path.read_bytes() for path in files)
    for path in (tmp_path / "out").glob("*.jax_export"):
        text = export.deserialize(bytearray(path.read_bytes())).mlir_module()
        # JAX's own check of the shapes.
        assert set(re.findall(r"custom_call @(\w+)", text)) == {"shape_assertion"}
        assert "precision = [HIGHEST, HIGHEST]" in text


def test_other_programs_read_stablehlo_without_a_number_of_the_platform(tmp_path):
    ir = pytest.importorskip("jaxlib.mlir.ir")
    stablehlo = pytest.importorskip("jaxlib.mlir.dialects.stablehlo")
    write(run_of(cell="lstm"), tmp_path, NO_OPTIONS)
    with ir.Context() as context:
        stablehlo.register_dialect(context)
        content = (tmp_path / "model.mlirbc").read_bytes()
        text = str(stablehlo.deserialize_portable_artifact(context, content))
    main = re.search(r"func.func public @main\((.*?)\) -> ", text)[1]
    # x, lengths, h and c of two layers, is_start.
    assert re.findall(r"tensor<(.*?)>", main) == ["?x?x2xf32", "?xi32", *["?x4xf32"] * 4, "i1"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"bidirectional": True}, "a bidirectional model needs the end of the sequence"),
        ({"subtract_last": True}, "needs the last value of the sequence"),
    ],
)
def test_a_model_that_needs_the_end_has_no_program_for_a_stream(model, reason, tmp_path):
    usage = write(run_of(cell="rnn", **model), tmp_path, NO_OPTIONS)
    assert reason in usage
    assert not list(tmp_path.glob("streaming*"))
