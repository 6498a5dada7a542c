"""The kernels over odd shapes, for a compiler that checks each access to memory.

test_native.py starts it as a process of its own, with the sanitizer's library loaded first.
"""

import jax
import jax.numpy as jnp

from lstm_lab.cells import CellSpec, masks
from lstm_lab.config.sections import OptimSpec
from lstm_lab.models import native_head
from lstm_lab.recurrence import unroll
from lstm_lab.recurrence.backends import kernel_library
from lstm_lab.training.optimizer import build_optimizer, hparams
from lstm_lab.training.update import apply_gradients

# Between them they have all kinds of memory: vectors and numbers kept from stage to stage, two
# widths, several fields of state, masks, and a projection within and outside the kernel.
CELLS = (
    CellSpec(peephole="ifo", gate_recurrence=True, layer_norm=True, projection=0.5),
    CellSpec(peephole="ifo", zoneout=True, recurrent_dropout="variational_untied"),
)
SHAPES = ((1, 5, 1, 2), (9, 13, 70, 130), (37, 10, 19, 33), (3, 9, 40, 132))


def main():
    assert kernel_library.load_head()[1] is None
    assert kernel_library.load_optimizer()[1] is None
    for spec in CELLS:
        rates = masks.default_rates(spec)
        for k, (B, T, D, H) in enumerate(SHAPES):
            params = spec.cell.init(spec, jax.random.key(0), D, H)
            keys_B = jax.random.split(jax.random.key(1), B)
            noise = masks.draw(spec, rates, keys_B, params, T) if masks.is_drawn(spec) else None

            def loss(params, x, noise, spec=spec, B=B, T=T, reverse=k % 2 == 1):
                result = unroll(
                    spec,
                    params,
                    x,
                    lengths=jnp.arange(B) * 5 % (T + 1),
                    resets=jnp.arange(T * B).reshape(T, B) % 11 == 0,
                    reverse=reverse,
                    noise=noise,
                    trace=("h", "f"),
                    backend="native",
                )
                return result.h.sum() + result.final.c.sum(), result.traced

            gradients = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
            jax.block_until_ready(gradients(params, jnp.ones((T, B, D)), noise))
    for N, H, C in ((1, 1, 1), (13, 19, 130), (7, 65, 1000)):
        arrays = jnp.ones((N, H)), jnp.ones((H, C)), jnp.ones(C), jnp.arange(N) % C, jnp.ones(N)
        for gradients in (False, True):
            jax.block_until_ready(native_head.call(*arrays, smoothing=0.1, gradients=gradients))
    params = {str(n): jnp.ones(n) for n in (1, 15, 16, 17, 20_000)}
    for name in ("sgd", "rmsprop", "adam", "adamw"):
        spec = OptimSpec(name=name)
        numbers = {k: jnp.float32(v) for k, v in hparams(spec).items()}
        state = build_optimizer(spec, numbers, 0).init(params)
        step = jax.jit(lambda p, s, spec=spec, n=numbers: apply_gradients(spec, n, 0, p, 1.0, s, p))
        jax.block_until_ready(step(params, state))
    print("no access outside")


if __name__ == "__main__":
    main()
