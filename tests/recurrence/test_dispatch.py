"""The choice of a backend: what each supports, and the nearest measured row of the timings."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, State, get_variant
from lstm_lab.recurrence import (
    BACKENDS,
    MEMBERS,
    CallSignature,
    DeviceType,
    batched_members,
    choose,
    dispatch,
    resolve,
    unsupported_reason,
)

LAYERNORM = get_variant("layernorm").spec


@pytest.fixture
def table(monkeypatch, tmp_path):
    """Returns a function that replaces the package's timing tables."""

    def write(*tables):
        monkeypatch.setattr(dispatch, "TIMINGS", tmp_path / "timings.json")
        dispatch.TIMINGS.write_text(json.dumps({"tables": tables}))
        dispatch.measured.cache_clear()

    yield write
    dispatch.measured.cache_clear()


def row(H, scan, fused, B=32, D=64, cell="layer_norm", members=1):
    shape = {"members": members, "B": B, "T": 64, "D": D, "H": H}
    return {"cell": cell, **shape, "ms": {"scan": scan, "fused": fused}}


def cpu(*rows, device="cpu"):
    return {"platform": "cpu", "device": device, "rows": rows}


def backend_for(name="layernorm", dtype=jnp.float32, **fields):
    """Returns the backend that `auto` chooses for a call of a variant."""
    return choose(CallSignature(get_variant(name).spec, dtype, **fields))


def test_auto_takes_the_fastest_backend_of_the_nearest_row(table):
    table(cpu(row(64, 2.0, 1.0), row(1024, 1.0, 2.0)))
    assert [backend_for(H=H) for H in (16, 64, 250, 260, 4096)] == [*["fused"] * 3, "scan", "scan"]
    assert backend_for(H=250, B=1, D=8) == "fused"
    table(cpu(row(64, 2.0, 1.0, B=1), row(64, 1.0, 2.0, B=256)))
    assert [backend_for(B=B) for B in (1, 8, 32, 512)] == ["fused", "fused", "scan", "scan"]
    table(cpu(row(64, 2.0, 1.0, D=1), row(64, 1.0, 2.0, D=512)))
    assert [backend_for(D=D) for D in (2, 300)] == ["fused", "scan"]


def test_auto_counts_the_batched_members(table):
    table(cpu(row(64, 2.0, 1.0), row(64, 1.0, 2.0, members=64)))
    backends = []

    def one_member(x):
        backends.append(choose(CallSignature(LAYERNORM, jnp.float32, members=batched_members())))
        return x

    one_member(1.0)
    jax.vmap(one_member)(jnp.ones(100))
    jax.vmap(one_member, axis_name=MEMBERS)(jnp.ones(4))
    jax.vmap(one_member, axis_name=MEMBERS)(jnp.ones(100))
    assert backends == ["fused", "fused", "fused", "scan"]


def test_auto_skips_unsupported_backends(table):
    times = {"scan": 3.0, "fused": 2.0, "native": 1.0, "cudnn": 0.1}
    table(cpu({**row(64, 3.0, 2.0, cell="plain"), "ms": times}))
    assert backend_for("np") == "native"
    assert backend_for("np", clamp=(("f", 0.5),)) == "native"
    assert backend_for("zoneout", noise=True) == "native"
    assert backend_for("np", trace=True) == "native"
    assert backend_for("np", jnp.bfloat16) == "fused"
    assert backend_for("np", jnp.bfloat16, trace=True) == "scan"


def test_auto_falls_back_to_scan_if_no_measured_backend_supports_the_call(table):
    table(cpu({**row(64, 3.0, 2.0), "ms": {"fused": 2.0}}))
    assert backend_for() == "fused"
    assert backend_for(trace=True) == "scan"


def test_auto_prefers_timings_of_the_same_device_to_those_of_the_platform(table):
    table(cpu(row(64, 2.0, 1.0), device="another"), cpu(row(64, 1.0, 2.0)))
    assert backend_for() == "scan"
    table(cpu(row(64, 2.0, 1.0), device="another"))
    assert backend_for() == "fused"


def test_auto_uses_a_default_without_timings(table):
    table(cpu(row(64, 2.0, 1.0, cell="plain")))
    assert backend_for("layernorm") == "native"
    assert backend_for("layernorm", jnp.bfloat16) == "scan"
    table()
    assert backend_for("layernorm") == "fused"
    assert backend_for("layernorm", trace=True) == "scan"


@pytest.mark.parametrize("platform", ["tpu", "gpu"])
def test_a_call_is_judged_by_the_device_it_is_compiled_for(platform):
    """Not by the devices of this process, which are CPUs."""
    other = DeviceType(platform, "another kind")
    for name in CATALOGUE:
        call = CallSignature(get_variant(name).spec, jnp.float32)
        assert choose(call) == "native"
        assert choose(call._replace(device=other)) == "fused"
        assert f"platform: got {platform}" in unsupported_reason(
            "native", call._replace(device=other)
        )
    plain = CallSignature(get_variant("lstm").spec, jnp.float32, device=other)
    assert (unsupported_reason("cudnn", plain) is None) == (platform == "gpu")


def test_the_shipped_timings_cover_every_variant():
    rows = dispatch.measured("cpu", "cpu")
    measured = {row["cell"] for row in rows}
    assert {dispatch.family(get_variant(name).spec) for name in CATALOGUE} == measured
    for row in rows:
        assert {"scan", "fused"} <= set(row["ms"]) <= set(BACKENDS)
        assert min(row["ms"].values()) > 0.0
    for name in ("vanilla", "fgr", "janet", "gru"):
        assert backend_for(name, H=128) == "native"


def test_a_named_backend_is_used_or_rejected():
    assert resolve("scan", CallSignature(LAYERNORM, jnp.float32)) == "scan"
    with pytest.raises(ValueError, match="got 'native', which does not support this"):
        resolve("native", CallSignature(LAYERNORM, jnp.bfloat16))
    with pytest.raises(ValueError, match="backend: got 'cuda', expected one of auto, scan, fused"):
        resolve("cuda", CallSignature(LAYERNORM, jnp.float32))


def test_backends_give_the_reason_for_an_unsupported_call():
    vanilla = get_variant("vanilla").spec
    mixed = CallSignature(vanilla, jnp.float32, unusual_dtype="state.h: got dtype float16")
    assert (
        unsupported_reason("native", mixed) == "state.h: got dtype float16, native supports float32"
    )
    for name, backend, message in (
        ("np", "associative", "cell: associative serves cells with coefficients"),
    ):
        assert message in unsupported_reason(
            backend, CallSignature(get_variant(name).spec, jnp.float32)
        )
    assert "dtype: got bfloat16" in unsupported_reason(
        "native", CallSignature(vanilla, jnp.bfloat16)
    )
    traced = CallSignature(vanilla, jnp.float32, trace=True)
    assert "trace: fused returns no gates" in unsupported_reason("fused", traced)
    assert "noise: native supports the masks of zoneout and recurrent" in unsupported_reason(
        "native", CallSignature(vanilla, jnp.float32, noise=True)
    )


def test_the_first_array_of_an_unusual_dtype_is_named():
    narrow, usual = (jnp.zeros((2, 4), dtype) for dtype in (jnp.bfloat16, jnp.float32))
    for dtype in (narrow.dtype, usual.dtype):
        state = State(jnp.zeros((2, 4), dtype), usual)
        assert dispatch.unusual_dtype(dtype, {"wx": usual}, state, usual) == ""
    # Not float64: JAX computes with it in float32.
    assert dispatch.unusual_dtype(jnp.float32, {"wx": np.zeros(3)}, state) == ""
    for arguments, expected in (
        (({"wx": narrow}, state), "params['wx']: got dtype bfloat16"),
        (({}, State(narrow, usual)), "state.h: got dtype bfloat16"),
        (({}, [[None, State(usual, narrow)]]), "state[0][1].c: got dtype bfloat16"),
        (({}, state, narrow), "noise: got dtype bfloat16"),
    ):
        assert dispatch.unusual_dtype(jnp.float32, *arguments) == expected


@pytest.mark.parametrize("sizes", [{"B": 0}, {"D": 0}])
def test_an_empty_batch_or_input_is_as_near_as_one_of_size_one(table, sizes):
    table(cpu(row(64, 2.0, 1.0, B=1, D=1), row(64, 1.0, 2.0, B=256, D=512)))
    assert backend_for(**{"B": 1, "D": 1, **sizes}) == "fused"
