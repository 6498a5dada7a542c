"""An independent LSTM family in NumPy float64, written from the papers' equations as a time loop.

It shares no code with the package: it reads each gate's own matrices from the parameters, whose
layout `wx [D,G,H]`, `wh [H,G,H]`, `b [G,H]`, `peephole [P,H]`, `wg [3H,3,H]` is the contract.
"""

import numpy as np

# Gates with weights, in the order i, f, o, g; and those with peepholes.
LAYOUT = {
    "vanilla": ("ifog", "ifo"),
    "nig": ("fog", "fo"),
    "nfg": ("iog", "io"),
    "nog": ("ifg", "if"),
    "niaf": ("ifog", "ifo"),
    "noaf": ("ifog", "ifo"),
    "cifg": ("iog", "io"),
    "np": ("ifog", ""),
    "fgr": ("ifog", "ifo"),
    "lstm": ("ifog", ""),
    "peephole": ("ifog", "ifo"),
}


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def lstm_row(name, p, x, h, c, previous):
    """One step of one sequence, one gate after another: Greff et al. 2017, section II."""
    gates, peepholes = LAYOUT[name]

    def pre(gate, cell):
        k = gates.index(gate)
        z = x @ p["wx"][:, k] + h @ p["wh"][:, k] + p["b"][k]
        if gate in peepholes:
            z = z + p["peephole"][peepholes.index(gate)] * cell
        if name == "fgr" and gate in "ifo":
            H = len(h)
            for m, source in enumerate("ifo"):
                block = p["wg"][m * H : (m + 1) * H, "ifo".index(gate)]
                z = z + previous[source] @ block
        return z

    one = np.ones_like(c)
    i = one if name == "nig" else sigmoid(pre("i", c))
    f = one if name == "nfg" else (1.0 - i if name == "cifg" else sigmoid(pre("f", c)))
    g = pre("g", c)
    if name != "niaf":
        g = np.tanh(g)
    c = f * c + i * g
    o = one if name == "nog" else sigmoid(pre("o", c))
    h = o * (c if name == "noaf" else np.tanh(c))
    return h, c, {"i": i, "f": f, "o": o, "g": g}


def rnn_row(p, x, h):
    return np.tanh(x @ p["wx"][:, 0] + h @ p["wh"][:, 0] + p["b"][0])


def gru_row(p, x, h):
    """Cho et al. 2014 with the reset after the product, as PyTorch documents it."""
    r, z = (sigmoid(x @ p["wx"][:, k] + p["b"][k] + h @ p["wh"][:, k]) for k in (0, 1))
    n = np.tanh(x @ p["wx"][:, 2] + p["b"][2] + r * (h @ p["wh"][:, 2] + p["bn"]))
    return (1.0 - z) * n + z * h


def unroll(name, params, x_TBD, *, lengths=None, resets=None, reverse=False, h0=None, c0=None):
    """Runs a variant over time, sequence by sequence.

    Returns h [T,B,H], zero past each length, and the final h and c [B,H]. In reverse, a sequence
    runs from its last real step to its first; a reset at t cuts between t - 1 and t either way.
    """
    p = {k: np.asarray(v, np.float64) for k, v in params.items()}
    T, B, _ = x_TBD.shape
    H = p["wh"].shape[-1]
    out = np.zeros((T, B, H))
    h_final, c_final = np.zeros((B, H)), np.zeros((B, H))
    for b in range(B):
        h = np.zeros(H) if h0 is None else np.array(h0[b], np.float64)
        c = np.zeros(H) if c0 is None else np.array(c0[b], np.float64)
        gates = {k: np.zeros(H) for k in "ifo"}
        length = T if lengths is None else int(lengths[b])
        for t in reversed(range(length)) if reverse else range(length):
            edge = t + 1 if reverse else t
            if resets is not None and edge < length and resets[edge, b]:
                h, c, gates = np.zeros(H), np.zeros(H), {k: np.zeros(H) for k in "ifo"}
            x = np.asarray(x_TBD[t, b], np.float64)
            if name == "rnn":
                h = rnn_row(p, x, h)
            elif name == "gru":
                h = gru_row(p, x, h)
            else:
                h, c, gates = lstm_row(name, p, x, h, c, gates)
            out[t, b] = h
        h_final[b], c_final[b] = h, c
    return out, h_final, c_final
