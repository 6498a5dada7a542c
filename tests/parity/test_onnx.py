"""ONNX Runtime's LSTM: peepholes, both directions, sequence_lens, initial states, input_forget."""

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from lstm_lab.bench.cases import Case
from lstm_lab.bench.streaming import stream, trained_model
from lstm_lab.cells import CellSpec, State
from tests.helpers.peers import LENGTHS, B, H, T, assert_close, layer_names, stack, to_peer_layout

# ONNX orders the gates i, o, f, c and the peepholes i, o, f.
GATES, PEEPHOLES = "iofg", "iof"


def session(directions, input_forget):
    """Returns a runtime for one LSTM node."""

    def tensor(name, kind=onnx.TensorProto.FLOAT):
        return onnx.helper.make_tensor_value_info(name, kind, None)

    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    node = onnx.helper.make_node(
        "LSTM",
        names,
        ["Y", "Y_h", "Y_c"],
        hidden_size=H,
        direction="bidirectional" if directions == 2 else "forward",
        input_forget=int(input_forget),
    )
    kinds = {"sequence_lens": onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [node],
        "lstm",
        [tensor(name, kinds.get(name, onnx.TensorProto.FLOAT)) for name in names],
        [tensor(name) for name in node.output],
    )
    opset = onnx.helper.make_opsetid("", 14)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString())


def uncoupled(p, gates):
    """Returns a coupled cell's arrays with zeros for the forget gate, which ONNX ignores."""
    if "f" in gates:
        return p
    zero = {k: np.zeros((*np.shape(p[k])[:-2], 1, H), np.float32) for k in p}
    return {k: np.concatenate([v[..., :1, :], zero[k], v[..., 1:, :]], -2) for k, v in p.items()}


@pytest.mark.parametrize("lengths", [np.full(B, T), LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("coupled", [False, True], ids=["four", "input_forget"])
@pytest.mark.parametrize("peephole", [False, True], ids=["np", "peephole"])
@pytest.mark.parametrize("backend", ["scan", "fused", "native"])
def test_a_layer_equals_onnx_runtime(backend, peephole, coupled, bidirectional, lengths):
    gates = "io" if coupled else "ifo"
    spec = CellSpec(gates=gates, coupled=coupled, peephole=gates if peephole else "")
    model, params, x = stack(spec, 1, bidirectional, backend)
    layer_keys = layer_names(1, bidirectional)
    keys = jax.random.split(jax.random.key(9), 2)
    h0, c0 = (0.5 * jax.random.normal(key, (len(layer_keys), B, H)) for key in keys)
    states = (tuple(State(h0[k], c0[k]) for k in range(len(layer_keys))),)
    h, (finals,) = model.apply({"params": params}, x, states, lengths=lengths)
    ours = [uncoupled({k: np.asarray(v) for k, v in params[p].items()}, gates) for p in layer_keys]
    b = np.stack([np.concatenate([to_peer_layout(p["b"], GATES), np.zeros(4 * H)]) for p in ours])
    peepholes = np.stack(
        [
            to_peer_layout(p["peephole"], PEEPHOLES, "ifo") if peephole else np.zeros(3 * H)
            for p in ours
        ]
    )
    feeds = {
        "X": np.asarray(x),
        "W": np.stack([to_peer_layout(p["wx"], GATES) for p in ours]),
        "R": np.stack([to_peer_layout(p["wh"], GATES) for p in ours]),
        "B": b.astype(np.float32),
        "sequence_lens": lengths.astype(np.int32),
        "initial_h": np.asarray(h0),
        "initial_c": np.asarray(c0),
        "P": peepholes.astype(np.float32),
    }
    y, y_h, y_c = session(len(layer_keys), coupled).run(None, feeds)
    real = (np.arange(T)[:, None] < lengths)[..., None]
    assert_close(
        h, np.where(real, np.concatenate([y[:, k] for k in range(len(layer_keys))], -1), 0)
    )
    assert_close(np.stack([s.h for s in finals]), y_h)
    assert_close(np.stack([s.c for s in finals]), y_c)


@pytest.mark.parametrize("cell", ["lstm", "slstm"])
def test_the_bench_times_steps_that_give_the_same_logits(cell):
    case = Case("step", 1, 1, 3, 4, vocabulary=7, cell=cell)
    trained = trained_model(case)
    ours, theirs = (stream(name, trained) for name in ("lstm_lab", "onnxruntime"))
    for token in (1, 5, 2):
        tokens = np.array([[token]])
        assert_close(theirs(tokens), ours(tokens))
