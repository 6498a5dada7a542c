"""PyTorch's nn.LSTM, nn.RNN and nn.GRU: outputs, final states, weight and input gradients."""

import numpy as np
import pytest

from lstm_lab.cells import CellSpec, get_variant
from tests.helpers.peers import (
    LENGTHS,
    B,
    D,
    H,
    T,
    assert_close,
    import_torch,
    layer_names,
    run_ours,
    stack,
    to_peer_layout,
    weights_like,
)

torch = import_torch()

GATES = {"lstm": ("ifog", "ifgo"), "rnn": ("n", "n"), "gru": ("rzn", "rzn")}
MODULES = {"lstm": torch.nn.LSTM, "rnn": torch.nn.RNN, "gru": torch.nn.GRU}


def torch_names(layers, bidirectional):
    suffixes = ("", "_reverse")[: 1 + bidirectional]
    return [f"l{layer}{suffix}" for layer in range(layers) for suffix in suffixes]


def as_torch(name, p):
    """Returns parameters under PyTorch's names. PyTorch has two biases; their sum is our bias."""
    order, target = GATES[name]
    b = np.asarray(to_peer_layout(p["b"], target, order))
    parameters = {
        "weight_ih": to_peer_layout(p["wx"], target, order),
        "weight_hh": to_peer_layout(p["wh"], target, order),
        "bias_ih": 0.7 * b,
        "bias_hh": 0.3 * b,
    }
    if name == "gru":
        parameters["bias_ih"] = b
        parameters["bias_hh"] = np.concatenate([np.zeros(2 * H, np.float32), p["bn"]])
    if "proj" in p:
        parameters["weight_hr"] = np.asarray(p["proj"]).T
    return parameters


def run_torch(module, x, weights, lengths):
    x = torch.tensor(np.asarray(x), requires_grad=True)
    packing = torch.nn.utils.rnn
    fed = x
    if lengths is not None:
        fed = packing.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    h, final = module(fed)
    if lengths is not None:
        h, _ = packing.pad_packed_sequence(h, total_length=T)
    finals = final if isinstance(final, tuple) else (final,)
    ((h * torch.tensor(np.asarray(weights))).sum() + sum(f.sum() for f in finals)).backward()
    return h.detach().numpy(), [f.detach().numpy() for f in finals], x.grad.numpy()


def compare(name, spec, layers, bidirectional, lengths, backend="auto", **options):
    model, params, x = stack(spec, layers, bidirectional, backend)
    module = MODULES[name](D, H, num_layers=layers, bidirectional=bidirectional, **options)
    layer_keys = zip(
        layer_names(layers, bidirectional), torch_names(layers, bidirectional), strict=True
    )
    layer_keys = list(layer_keys)
    with torch.no_grad():
        for our_key, torch_key in layer_keys:
            for label, value in as_torch(name, params[our_key]).items():
                getattr(module, f"{label}_{torch_key}").copy_(torch.tensor(np.array(value)))
    width = options.get("proj_size", H) * (1 + bidirectional)
    weights = weights_like((T, B, width))
    h, finals, d_params, dx = run_ours(model, params, x, weights, lengths)
    h_torch, finals_torch, dx_torch = run_torch(module, x, weights, lengths)
    assert_close(h, h_torch, "h")
    assert_close(dx, dx_torch, "gradient of x")
    flat = [state for directions in finals for state in directions]
    assert_close(np.stack([s.h for s in flat]), finals_torch[0], "final h")
    if len(finals_torch) == 2:
        assert_close(np.stack([s.c for s in flat]), finals_torch[1], "final c")
    for our_key, torch_key in layer_keys:
        grads = as_torch(name, d_params[our_key])
        grads["bias_ih"] = to_peer_layout(d_params[our_key]["b"], GATES[name][1], GATES[name][0])
        del grads["bias_hh"]
        if name == "gru":
            theirs = module.get_parameter(f"bias_hh_{torch_key}").grad.numpy()[2 * H :]
            assert_close(d_params[our_key]["bn"], theirs, "gradient of bn")
        for label, value in grads.items():
            theirs = module.get_parameter(f"{label}_{torch_key}").grad.numpy()
            assert_close(value, theirs, f"gradient of {label}_{torch_key}")


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", ["lstm", "rnn", "gru"])
def test_stacks_equal_torch_modules(name, layers, bidirectional, lengths):
    compare(name, get_variant(name).spec, layers, bidirectional, lengths)


@pytest.mark.parametrize("backend", ["scan", "fused", "native"])
def test_every_backend_equals_torch(backend):
    compare("lstm", get_variant("lstm").spec, 2, True, LENGTHS, backend)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "packed"])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projected_lstm_equals_torch(bidirectional, lengths):
    compare("lstm", CellSpec(projection=0.35), 2, bidirectional, lengths, proj_size=7)
