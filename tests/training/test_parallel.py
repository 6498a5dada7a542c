"""The same numbers on one device, on several, and for several members; the compiled programs."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from lstm_lab.recurrence import DeviceType, batched_members, dispatch
from lstm_lab.training.layout import (
    Layout,
    choose_layout,
    fit_layout,
    idle_devices,
    run_layout,
)
from lstm_lab.training.loop import StopRequest, layout_of, train_run
from lstm_lab.training.parallel import _build, build_program
from lstm_lab.training.reports import EVALUATE, REPORT
from lstm_lab.training.state import DIVERGED, IDLE, member_of
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError
from tests.helpers.data import write_chorales
from tests.helpers.training import assert_close, ragged_spec, run_steps, small_spec, state_with_runs

ONE = Layout("single", 1, 1)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A JSB data set of eleven pieces of different length: the last batch of four has three."""
    folder = tmp_path_factory.mktemp("data")
    write_chorales(folder, pieces=(9, 3, 12, 1, 6, 7, 2, 10, 5, 8, 4))
    return folder


@pytest.mark.parametrize("reduction", ["mean", "sum_time_mean_batch"])
@pytest.mark.parametrize("devices", [2, 4])
def test_several_devices_equal_one_on_ragged_batches(music, devices, reduction):
    spec = ragged_spec(
        model={"cell": "vanilla", "layers": 2, "dropout": 0.3},
        train={"batch_size": 4, "loss_reduction": reduction},
        optim={"lr": 0.01},
    )
    dataset = spec.task.load(music)
    losses, params = run_steps([spec], ONE, dataset)
    split_losses, split_params = run_steps([spec], Layout("batch", devices, 1), dataset)
    assert losses[-1] < losses[0]
    assert_close(split_losses, losses)
    assert_close(split_params, params)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_cohort_of_five_seeds_equals_five_lone_runs(music, devices):
    spec = ragged_spec(model={"cell": "peephole", "bidirectional": True}, train={"batch_size": 4})
    specs = [replace(spec, seed=k, optim=replace(spec.optim, lr=0.01 * (k + 1))) for k in range(5)]
    dataset = spec.task.load(music)
    kind = "single" if devices == 1 else "members"
    lanes = -(-5 // devices) * devices
    losses, params = run_steps(specs, Layout(kind, devices, lanes), dataset)
    assert len(np.unique(losses[-1])) == 5
    for k, one in enumerate(specs):
        lone_losses, lone_params = run_steps([one], ONE, dataset)
        assert_close(losses[:, k : k + 1], lone_losses)
        assert_close(jax.tree.map(lambda a, k=k: a[k : k + 1], params), lone_params)


@pytest.mark.parametrize("members", [1, 3])
def test_members_under_vmap_equal_members_under_lax_map(music, monkeypatch, members):
    """GPUs batch members with `vmap`, CPUs loop with `lax.map`; one member is not batched."""
    from lstm_lab.training import parallel

    spec = ragged_spec(train={"batch_size": 4})
    specs = [replace(spec, seed=k) for k in range(members)]
    dataset = spec.task.load(music)
    mapped = run_steps(specs, Layout("single", 1, members), dataset)
    real = parallel.lane_map
    monkeypatch.setattr(parallel, "lane_map", lambda platform: real("gpu"))
    _build.cache_clear()
    try:
        batched = run_steps(specs, Layout("single", 1, members), dataset)
    finally:
        _build.cache_clear()
    assert_close(batched, mapped)


def test_a_single_lane_on_a_gpu_keeps_its_conditionals():
    from lstm_lab.training.parallel import lane_map

    def one(x):
        return jax.lax.cond(x > 0, lambda: 2.0 * x, lambda: x)

    def operations(lanes):
        return str(jax.make_jaxpr(lambda x: lane_map("gpu")(one, x))(jnp.ones(lanes)))

    assert "cond[" in operations(1)
    assert "cond[" not in operations(2)


@pytest.mark.parametrize(
    ("platform", "lanes", "members"), [("gpu", 3, 3), ("gpu", 1, 1), ("cpu", 3, 1)]
)
def test_lane_map_reports_the_number_of_batched_members(platform, lanes, members):
    from lstm_lab.training.parallel import lane_map

    seen = []
    lane_map(platform)(lambda x: seen.append(batched_members()) or x, jnp.ones(lanes))
    assert set(seen) == {members}


@pytest.mark.parametrize(
    ("layout", "hidden", "rows"),
    [
        (Layout("single", 1, 1), 5, 8),
        (Layout("members", 2, 4), 5, 8),
        (Layout("batch", 4, 1), 5, 2),
        (Layout("single", 1, 2, width=9), 9, 8),
    ],
)
def test_backends_are_chosen_for_the_shapes_on_one_device(monkeypatch, layout, hidden, rows):
    calls = []
    monkeypatch.setattr(dispatch, "choose", lambda call: calls.append(call) or "scan")
    spec = small_spec(model={"layers": 2, "bidirectional": True})
    assert layout.backends(spec, DeviceType("cpu", "cpu")) == ["scan"]
    assert [(c.B, c.D, c.H) for c in calls] == [(rows, 2, hidden), (rows, 2 * hidden, hidden)]
    assert {call.members for call in calls} == {1}
    gpu = DeviceType("gpu", "NVIDIA H100 80GB HBM3")
    layout.backends(spec, gpu)
    assert calls[-1].device == gpu
    assert calls[-1].members == layout.lanes // (2 if layout.kind == "members" else 1)


def loop_bodies(text):
    """Returns the text of all computations that run inside a while loop of a compiled program."""
    computations = {}
    for block in re.split(r"\n(?=%|ENTRY)", text):
        name = re.match(r"(?:ENTRY )?%([\w.\-]+)", block)
        if name:
            computations[name[1]] = block
    reached, queue = set(), re.findall(r"body=%([\w.\-]+)", text)
    while queue:
        name = queue.pop()
        if name not in reached and name in computations:
            reached.add(name)
            queue += re.findall(r"%([\w.\-]+)", computations[name])
    return "\n".join(computations[name] for name in reached)


@pytest.mark.parametrize("backend", ["scan", "fused"])
def test_no_collective_inside_the_time_loop(music, backend):
    """The program is one optimizer step, so its only loops are those over time."""

    from lstm_lab.tasks import gather_batch
    from lstm_lab.training.device_axis import DeviceAxis

    spec = ragged_spec(train={"batch_size": 8}, compute={"backend": backend})
    examples = jax.device_put(spec.task.load(music).splits["train"])
    train_step = TrainStep(spec, 0, axis=DeviceAxis("devices"))
    state = train_step.init(member_of(spec, 20))

    def one(rows_B, state):
        batch = gather_batch(examples, rows_B, rows_B)
        return train_step.step(state, batch)

    mesh, split, whole = Mesh(np.array(jax.devices()[:4]), ("devices",)), P("devices"), P()
    shard_map = partial(jax.shard_map, mesh=mesh, check_vma=False)
    mapped = shard_map(one, in_specs=(split, whole), out_specs=whole)
    text = jax.jit(mapped).lower(np.arange(8), state).compile().as_text()
    assert "all-reduce" in text
    assert "while" in text
    assert "all-reduce" not in loop_bodies(text)

    def psum_in_a_loop(x):
        return jax.lax.fori_loop(0, 3, lambda _, x: jax.lax.psum(x, "devices") * 0.1, x)

    reducing = shard_map(psum_in_a_loop, in_specs=split, out_specs=split)
    text = jax.jit(reducing).lower(np.ones(4, np.float32)).compile().as_text()
    assert "all-reduce" in loop_bodies(text)


@pytest.mark.parametrize("layout", [ONE, Layout("batch", 2, 1), Layout("members", 2, 4)], ids=str)
def test_nothing_recompiles_after_the_first_call(layout, caplog):
    spec = small_spec(model={"hidden": 3})
    dataset = spec.task.load(Path("nowhere"))
    program = build_program(spec, 20, layout)
    state = state_with_runs(program, [spec])
    data = program.place_data(dict(dataset.splits))

    def compiled_functions(count, evaluating):
        nonlocal state
        caplog.clear()
        with jax.log_compiles(True), caplog.at_level("WARNING"):
            ending = jnp.int32(EVALUATE if evaluating else REPORT)
            state, _ = program.run_chunk(state, data, jnp.int32(count), ending)
        messages = "\n".join(record.getMessage() for record in caplog.records)
        return set(re.findall(r"^Compiling (\S+)", messages, re.M))

    # If JAX named the function in another way, the checks below would find nothing.
    first = compiled_functions(1, False)
    assert "jit(run_chunk)" in first
    for count, evaluating in ((1, False), (2, True), (3, False)):
        assert not first & compiled_functions(count, evaluating)


@pytest.mark.parametrize("layout", [ONE, Layout("batch", 2, 1), Layout("members", 2, 4)], ids=str)
def test_a_call_writes_the_new_state_over_the_old_one(layout):
    """Without donation, weights and optimizer state would be in memory twice."""
    spec = small_spec(model={"hidden": 3})
    program = build_program(spec, 20, layout)
    state = state_with_runs(program, [spec])
    data = program.place_data(dict(spec.task.load(Path("nowhere")).splits))
    program.run_chunk(state, data, np.int32(1), np.int32(REPORT))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(data))


def test_cohorts_that_differ_only_in_hparams_and_length_share_a_program():
    spec = small_spec()
    longer = replace(
        spec,
        seed=4,
        optim=replace(spec.optim, lr=0.5, momentum=0.9),
        train=replace(spec.train, steps=99, eval_every=7),
    )
    assert build_program(spec, 20, ONE) is build_program(longer, 99, ONE)
    wider = replace(spec, model=replace(spec.model, hidden=9))
    assert build_program(wider, 20, ONE) is not build_program(spec, 20, ONE)


@pytest.mark.optimized
def test_a_diverged_member_does_not_change_other_members():
    spec = small_spec()
    dataset = spec.task.load(Path("nowhere"))
    splits = {k: v for k, v in dataset.splits.items() if k != "test"}
    finals = {}
    for rate in (0.1, 1e30):
        specs = [spec, replace(spec, seed=1, optim=replace(spec.optim, lr=rate))]
        program = build_program(spec, 20, Layout("single", 1, 3))
        state = state_with_runs(program, specs)
        data = program.place_data(splits)
        for _ in range(4):
            state, _ = program.run_chunk(state, data, jnp.int32(5), jnp.int32(EVALUATE))
        finals[rate] = program.collect(state)
    undisturbed, diverged = finals[0.1], finals[1e30]
    assert diverged.stopped[1] == DIVERGED
    assert diverged.step[1] < 20
    assert list(diverged.stopped[[0, 2]]) == [0, IDLE]
    assert diverged.step[2] == 0
    for a, b in zip(
        jax.tree.leaves(undisturbed.params), jax.tree.leaves(diverged.params), strict=True
    ):
        np.testing.assert_array_equal(a[0], b[0])


def test_devices_that_a_run_cannot_use_are_an_error_or_a_note(tmp_path, capsys):
    def spec(batch_size, devices=None):
        return small_spec(train={"batch_size": batch_size}, compute={"devices": devices})

    message = (
        r"compute\.devices: got 3, expected a number that divides train\.batch_size, 50, such as 2"
    )
    with pytest.raises(UserError, match=message):
        run_layout(spec(50, 3), 8)
    with pytest.raises(UserError, match="got 3, .* such as 2"):
        train_run(spec(50, 3), tmp_path / "a", tmp_path, stop=StopRequest())
    assert not (tmp_path / "a").exists()
    assert run_layout(spec(50, 5), 8) == Layout("batch", 5, 1)
    for devices, available in ((1, 8), (3, 1)):
        assert run_layout(spec(50, devices), available) == Layout("single", 1, 1)
    # A run of an earlier version continues as it began.
    recorded = {"layout": {"kind": "single", "devices": 1, "lanes": 1}}
    assert layout_of(spec(50, 3), recorded) == Layout("single", 1, 1)
    assert capsys.readouterr().err == ""
    # The tests have four devices.
    note = "note: 1 of 4 devices trains: train.batch_size 9 is no multiple of 4"
    train_run(spec(9), tmp_path / "b", tmp_path, stop=StopRequest())
    train_run(spec(9), tmp_path / "b", tmp_path, stop=StopRequest())
    assert capsys.readouterr().err.count(f"{note}; compute.devices=3 uses 3\n") == 1
    assert idle_devices(run_layout(spec(7), 4), 7, 4).endswith("7 is no multiple of 4")
    assert idle_devices(Layout("batch", 4, 1), 8, 4) == idle_devices(Layout("single", 1, 1), 7, 1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8), st.integers(1, 8))
def test_layouts_fit_members_batch_and_devices(members, batch_size, devices, fewer):
    layout = choose_layout(members, batch_size, devices)
    assert layout.lanes >= members
    assert 1 <= layout.devices <= devices
    if layout.kind == "members":
        assert layout.lanes % layout.devices == 0
        assert layout.lanes - members < layout.devices
    if layout.kind == "batch":
        assert batch_size % layout.devices == 0
        assert members < devices
    adapted = fit_layout(layout, batch_size, fewer)
    assert adapted.lanes == layout.lanes
    assert adapted.devices <= fewer
    assert adapted == layout or fewer < layout.devices
    assert adapted.kind != "members" or adapted.lanes % adapted.devices == 0
    assert adapted.kind != "batch" or batch_size % adapted.devices == 0
