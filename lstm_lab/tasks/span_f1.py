"""F1 of spans of tags, such as B-city I-city.

In: predicted and true tags of a batch. Out: a sum and a count, like those of metrics.py. A span is
correct if its type, its first word and its last word are correct. Read tag_schemes.py for what
makes a span.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.tasks.tag_schemes import (
    CONTINUES,
    ENDS,
    OUTSIDE,
    STARTS,
    Scheme,
    split_tag,
    transitions,
    usual_scheme,
)


def span_f1(
    labels: tuple[str, ...],
    guess_BT: jax.Array,
    y_BT: jax.Array,
    weight_BT: jax.Array,
    scheme: Scheme | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Counts spans as the strict mode of seqeval does: F1 = 2 correct / (predicted + true).

    A model may predict tags that do not form a span, such as I-city after O in IOB2. They are no
    span: neither a correct nor a wrong one.

    Args:
      labels: names of the tags, all of the scheme.
      guess_BT, y_BT: predicted and true tags, int32.
      weight_BT: 0 after the end of a sentence, in filler rows, and at words that do not count, such
        as the later parts of a word that is split. Those are left out, so that a span continues
        from the word before them to the word after them.
      scheme: what marks the first and last word of a span; None means the usual scheme of the
        labels' prefixes.

    Returns:
      Twice the number of correct spans, and the number of predicted plus true spans; float32.

    Example:
      y_BT = jnp.array([[1, 2, 0]])
      span_f1(("O", "B-a", "I-a"), y_BT, y_BT, jnp.ones((1, 3)))  # (2, 2): one span, correct

    Source: Tjong Kim Sang and Buchholz 2000; Nakayama 2018, seqeval.
    """
    # One row and column more than labels, for O before, after and in the padding of a sentence:
    # `labels` may lack O.
    table_LL = jnp.asarray(transitions(labels, scheme or usual_scheme(labels)))
    outside = len(labels)
    kinds = [split_tag(label)[1] for label in (*labels, OUTSIDE)]
    kind_L = jnp.asarray(np.unique(kinds, return_inverse=True)[1].astype(np.int32))

    counts_BT = weight_BT > 0
    # The words that count move to the front of their row. Place T does not exist, so that `drop`
    # removes the others.
    places_BT = jnp.where(counts_BT, jnp.cumsum(counts_BT, axis=1) - 1, counts_BT.shape[1])
    rows_B1 = jnp.arange(counts_BT.shape[0])[:, None]

    def spans(tags_BT: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns where spans begin, their types, and the place after the end of each span."""
        nothing_BT = jnp.full_like(tags_BT, outside)
        tags_BT = nothing_BT.at[rows_B1, places_BT].set(tags_BT, mode="drop")
        padded = jnp.pad(tags_BT, ((0, 0), (1, 1)), constant_values=outside)
        # Places 0 to T: place k lies before the word with the number k.
        pairs_BK = table_LL[padded[:, :-1], padded[:, 1:]]
        starts, continues, ends = ((pairs_BK & bit) > 0 for bit in (STARTS, CONTINUES, ENDS))
        places_1K = jnp.arange(pairs_BK.shape[1])[None]
        # A word is in a span if no pair of words after the last start interrupts the span. The
        # largest place from the left replaces a loop over words.
        last_start = lax.cummax(jnp.where(starts, places_1K, -1), axis=1)
        last_break = lax.cummax(jnp.where(continues, -1, places_1K), axis=1)
        in_span = last_start >= last_break
        was_in_span = jnp.pad(in_span[:, :-1], ((0, 0), (1, 0)))
        # In IOB1, I after B may start a span, but not inside of one.
        begins = starts & ~(continues & was_in_span)
        # A span reaches to the next interruption. It counts if the scheme lets it end there.
        breaks = jnp.where(continues, places_1K.size, places_1K)
        after = lax.cummin(breaks[:, 1:], axis=1, reverse=True)
        complete = jnp.take_along_axis(ends, after, axis=1)
        return begins[:, :-1] & complete, kind_L[tags_BT], after

    begins, kind, end = spans(guess_BT)
    true_begins, true_kind, true_end = spans(y_BT)
    right = begins & true_begins & (kind == true_kind) & (end == true_end)
    count = begins.sum() + true_begins.sum()
    return 2.0 * right.sum().astype(jnp.float32), count.astype(jnp.float32)
