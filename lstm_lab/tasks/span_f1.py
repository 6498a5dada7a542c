"""F1 of spans of tags, such as B-city I-city.

In: predicted and true tags of a batch. Out: a sum and a count, like those of metrics.py. A span is
correct if its type, its first word and its last word are correct.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

OUTSIDE = "O"


def span_f1(
    labels: tuple[str, ...], guess_BT: jax.Array, y_BT: jax.Array, weight_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Counts spans as conlleval does: F1 = 2 correct / (predicted + true).

    A span begins at B-X, and at an I-X that does not follow B-X or I-X. It ends before the next tag
    that is not I-X.

    Args:
      labels: names of the tags: O, or B-X and I-X for each type X.
      guess_BT, y_BT: predicted and true tags, int32.
      weight_BT: 0 after the end of a sentence and in filler rows.

    Returns:
      Twice the number of correct spans, and the number of predicted plus true spans; float32.

    Source: Tjong Kim Sang and Buchholz 2000, conlleval.
    """
    # A label without a prefix, such as NOUN, is a type of its own: each such word is one span.
    types = sorted({label.partition("-")[2] or label for label in labels if label != OUTSIDE})
    type_L = np.array(
        [-1 if x == OUTSIDE else types.index(x.partition("-")[2] or x) for x in labels], np.int32
    )
    inside_L = np.array([label.startswith("I-") for label in labels])
    outside = jnp.int32(-1)

    def spans(tags_BT: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns where spans begin, their types, and the end of the span at each place."""
        # Padding counts as O, so that a span ends with its sentence.
        type_BT = jnp.where(weight_BT > 0, jnp.asarray(type_L)[tags_BT], outside)
        before_BT = jnp.pad(type_BT[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        # A model may predict I-X after O or after B-Y. conlleval counts that as a new span.
        continues_BT = jnp.asarray(inside_L)[tags_BT] & (type_BT == before_BT) & (type_BT >= 0)
        begins_BT = (type_BT >= 0) & ~continues_BT
        T = tags_BT.shape[1]
        last_BT = jnp.pad(~continues_BT[:, 1:], ((0, 0), (0, 1)), constant_values=True)
        # The minimum from the right over the places of last words is the end of the current span:
        # no loop over spans, whose number differs from batch to batch.
        places_BT = jnp.where(last_BT, jnp.arange(T)[None], T)
        return begins_BT, type_BT, lax.cummin(places_BT, axis=1, reverse=True)

    begins, kind, end = spans(guess_BT)
    true_begins, true_kind, true_end = spans(y_BT)
    right = begins & true_begins & (kind == true_kind) & (end == true_end)
    count = begins.sum() + true_begins.sum()
    return 2.0 * right.sum().astype(jnp.float32), count.astype(jnp.float32)
