"""An independent LSTM family in NumPy, written from the papers' equations as a time loop.

It shares no code with the package: it reads each gate's own matrices from the parameters, whose
layout `wx [D,G,H]`, `wh [H,G,H]`, `b [G,H]`, `peephole [P,H]`, `wg [3H,3,H]` and so on is the
contract. Every function accepts complex numbers, and arrays with extra leading axes, so that
`gradients` can differentiate by complex steps: f'(x) = Im f(x + i e) / e, exact to rounding.
"""

import numpy as np

# Gates with weights, in the order i, f, o, g; and those with peepholes.
FOUR = ("ifog", "")
LAYOUT = {
    "vanilla": ("ifog", "ifo"),
    "nig": ("fog", "fo"),
    "nfg": ("iog", "io"),
    "nog": ("ifg", "if"),
    "niaf": ("ifog", "ifo"),
    "noaf": ("ifog", "ifo"),
    "cifg": ("iog", "io"),
    "np": FOUR,
    "fgr": ("ifog", "ifo"),
    "lstm": FOUR,
    "peephole": ("ifog", "ifo"),
    "layernorm": FOUR,
    "lstmp": ("ifog", "ifo"),
    "multiplicative": FOUR,
    "janet": ("fg", ""),
    "chrono": FOUR,
    "zoneout": FOUR,
    "variational": FOUR,
    "variational_untied": FOUR,
    "semeniuta": FOUR,
    "weightdrop": FOUR,
}


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def times(v, m):
    """Returns v M for vectors [...,D] and matrices [...,D,H]."""
    return np.einsum("...d,...dh->...h", v, m)


def gate(w, k):
    """Returns the matrix of the k-th gate of w [...,D,G,H]."""
    return w[..., k, :]


def layer_norm(z):
    z = z - z.mean(-1, keepdims=True)
    return z / np.sqrt((z * z).mean(-1, keepdims=True) + 1e-5)


def lstm_row(name, p, x, h, c, previous, noise=None):
    """One step of one sequence, one gate after another: Greff et al. 2017, section II."""
    gates, peepholes = LAYOUT[name]
    noise = noise or {}
    H = p["b"].shape[-1]

    def read(k):
        """What the k-th gate reads of h'."""
        if name == "multiplicative":
            return times(x, p["wm_x"]) * times(h, p["wm_h"])
        mask = noise.get("recurrent", 1.0)
        return h * (mask[k] if name == "variational_untied" else mask)

    def product(read, w, gain):
        parts = [times(read(k), gate(w, k)) for k in range(len(gates))]
        if name == "layernorm":
            whole = layer_norm(np.concatenate(parts, -1))
            parts = [whole[..., k * H : (k + 1) * H] * gain[..., k, :] for k in range(len(gates))]
        return parts

    from_x = product(lambda _: x, p["wx"], p.get("ln_x"))
    from_h = product(read, p["wh"], p.get("ln_h"))

    def pre(name_of_gate, cell):
        k = gates.index(name_of_gate)
        z = from_x[k] + from_h[k] + p["b"][..., k, :]
        if name_of_gate in peepholes:
            z = z + p["peephole"][..., peepholes.index(name_of_gate), :] * cell
        if name == "fgr" and name_of_gate in "ifo":
            for m, source in enumerate("ifo"):
                block = gate(p["wg"], "ifo".index(name_of_gate))[..., m * H : (m + 1) * H, :]
                z = z + times(previous[source], block)
        return z

    one = np.ones_like(c)
    if name == "janet":
        # van der Westhuizen and Lasenby 2018, eq. 3, with b = 1:
        # c = sigmoid(s) c' + (1 - sigmoid(s - b)) g.
        i, f = 1.0 - sigmoid(pre("f", c) - 1.0), sigmoid(pre("f", c))
    else:
        i = one if name == "nig" else sigmoid(pre("i", c))
        f = one if name == "nfg" else (1.0 - i if name == "cifg" else sigmoid(pre("f", c)))
    g = pre("g", c)
    if name != "niaf":
        g = np.tanh(g)
    new_c = f * c + i * g * noise.get("candidate", 1.0)
    o = one if name in ("nog", "janet") else sigmoid(pre("o", new_c))
    cell_output = new_c
    if name == "layernorm":
        cell_output = layer_norm(new_c) * p["ln_c"][..., 0, :] + p["ln_c"][..., 1, :]
    new_h = o * (cell_output if name in ("noaf", "janet") else np.tanh(cell_output))
    if name == "lstmp":
        new_h = times(new_h, p["proj"])
    if name == "zoneout":
        keep_h, keep_c = noise["zoneout_h"], noise["zoneout_c"]
        new_h = keep_h * h + (1.0 - keep_h) * new_h
        new_c = keep_c * c + (1.0 - keep_c) * new_c
    return new_h, new_c, {"i": i, "f": f, "o": o, "g": g}


def rnn_row(p, x, h):
    return np.tanh(times(x, gate(p["wx"], 0)) + times(h, gate(p["wh"], 0)) + p["b"][..., 0, :])


def gru_row(p, x, h):
    """Cho et al. 2014 with the reset after the product, as PyTorch documents it."""
    r, z = (
        sigmoid(times(x, gate(p["wx"], k)) + p["b"][..., k, :] + times(h, gate(p["wh"], k)))
        for k in (0, 1)
    )
    inside = times(h, gate(p["wh"], 2)) + p["bn"]
    n = np.tanh(times(x, gate(p["wx"], 2)) + p["b"][..., 2, :] + r * inside)
    return (1.0 - z) * n + z * h


def mgu_row(p, x, h):
    """Zhou et al. 2016, eqs. 6: the forget gate also gates what the candidate reads of h'."""
    f = sigmoid(times(x, gate(p["wx"], 0)) + times(h, gate(p["wh"], 0)) + p["b"][..., 0, :])
    n = np.tanh(times(x, gate(p["wx"], 1)) + times(f * h, gate(p["wh"], 1)) + p["b"][..., 1, :])
    return (1.0 - f) * h + f * n


def slstm_row(p, x, h, c, n):
    """Beck et al. 2024, eqs. 8-14, without the stabilizer, which cancels in c / n."""
    heads, width = p["wh"].shape[-4], p["wh"].shape[-3]
    pre = []
    for k in range(4):
        blocks = [
            times(h[..., m * width : (m + 1) * width], p["wh"][..., m, :, k, :])
            for m in range(heads)
        ]
        pre.append(times(x, gate(p["wx"], k)) + np.concatenate(blocks, -1) + p["b"][..., k, :])
    i, f, o, z = np.exp(pre[0]), sigmoid(pre[1]), sigmoid(pre[2]), np.tanh(pre[3])
    c, n = f * c + i * z, f * n + i
    return o * c / n, c, n


def minlstm_row(p, x, h):
    """Feng et al. 2024: both gates of the input, normalized to sum to one."""
    i, f, g = (times(x, gate(p["wx"], k)) + p["b"][..., k, :] for k in range(3))
    i, f = sigmoid(i), sigmoid(f)
    return f / (f + i) * h + i / (f + i) * g


def unroll(
    name,
    params,
    x,
    *,
    lengths=None,
    resets=None,
    reverse=False,
    h0=None,
    c0=None,
    noise=None,
    lead=(),
):
    """Runs a variant over time, sequence by sequence.

    Returns h [...,T,B,R], zero after each length, and the final h and c [...,B,H]. In reverse, a
    sequence runs from its last real step to its first; in both directions, a reset at t cuts it
    between t - 1 and t. `noise` maps names to arrays [T,B,...]; `lead` is the shape of extra axes.
    """
    T, B = x.shape[-3:-1]
    H = params["b"].shape[-1]
    R = params["proj"].shape[-1] if name == "lstmp" else H
    kind = np.result_type(x, *params.values(), *(s for s in (h0, c0) if s is not None))
    out, finals = np.zeros((*lead, T, B, R), kind), []
    for b in range(B):

        def zero(width):
            return np.zeros((*lead, width), kind)

        h = zero(R) if h0 is None else h0[..., b, :]
        c = zero(H) if c0 is None else c0[..., b, :]
        n, gates = zero(H), {k: zero(H) for k in "ifo"}
        length = T if lengths is None else int(lengths[b])
        for t in reversed(range(length)) if reverse else range(length):
            edge = t + 1 if reverse else t
            if resets is not None and edge < length and resets[edge, b]:
                h, c, n, gates = zero(R), zero(H), zero(H), {k: zero(H) for k in "ifo"}
            x_now = x[..., t, b, :]
            if name == "rnn":
                h = rnn_row(params, x_now, h)
            elif name == "gru":
                h = gru_row(params, x_now, h)
            elif name == "mgu":
                h = mgu_row(params, x_now, h)
            elif name == "minlstm":
                h = minlstm_row(params, x_now, h)
            elif name == "slstm":
                h, c, n = slstm_row(params, x_now, h, c, n)
            else:
                now = {k: v[t, b] for k, v in (noise or {}).items()}
                h, c, gates = lstm_row(name, params, x_now, h, c, gates, now)
            out[..., t, b, :] = h
        finals.append([np.broadcast_to(s, (*lead, s.shape[-1])) for s in (h, c)])
    h_final, c_final = (np.stack(states, -2) for states in zip(*finals, strict=True))
    return out, h_final, c_final


def gradients(loss, arrays):
    """Differentiates a scalar function of a dict of arrays, entry by entry, by complex steps.

    `loss` takes the dict, in which one array has a leading axis of perturbations, and the shape of
    that axis. It returns one number per perturbation.
    """
    gradients_by_name = {}
    for name, array in arrays.items():
        size = array.size
        steps = np.eye(size).reshape(size, *array.shape) * 1e-30j
        loss_P = loss({**arrays, name: array[None] + steps}, (size,))
        gradients_by_name[name] = (loss_P.imag / 1e-30).reshape(array.shape)
    return gradients_by_name
