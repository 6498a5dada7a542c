"""F1 of spans equals the strict modes of seqeval, also for tags that form no span."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import scheme as seqeval_schemes
from seqeval.metrics import f1_score

from lstm_lab.tasks import IGNORE_INDEX, Batch, Categorical, Examples, Tags, metric_sums
from lstm_lab.tasks.span_f1 import span_f1
from lstm_lab.tasks.tag_schemes import PATTERNS, detect_scheme
from lstm_lab.utils.errors import UserError

B, T = 4, 9  # one shape for all examples: the function is compiled once per set of labels
TYPES = {"typed": ("-a", "-b"), "untyped": ("",)}
compiled = jax.jit(span_f1, static_argnums=(0, 4))


def labels_of(scheme, types):
    return ("O", *(prefix + kind for prefix in PATTERNS[scheme].prefixes for kind in types))


def strict_f1(true, guess, scheme):
    """Returns seqeval's figure; BMES, which it lacks, is IOBES with M for I."""
    if scheme == "BMES":
        true, guess = ([[t.replace("M", "I") for t in s] for s in part] for part in (true, guess))
    known = getattr(seqeval_schemes, "IOBES" if scheme == "BMES" else scheme)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of seqeval: there may be no span at all
        return f1_score(true, guess, mode="strict", scheme=known)


def our_f1(labels, true, guess, scheme):
    tags, weight = np.zeros((2, B, T), np.int32), np.zeros((B, T))
    for k, pair in enumerate(zip(true, guess, strict=True)):
        for part, sentence in zip(tags, pair, strict=True):
            part[k, : len(sentence)] = [labels.index(tag) for tag in sentence]
        weight[k, : len(pair[0])] = 1
    correct, count = compiled(labels, tags[1], tags[0], jnp.asarray(weight), scheme)
    return float(correct) / max(float(count), 1.0)


def sentences(labels):
    tag = st.sampled_from(labels)
    pair = st.lists(st.tuples(tag, tag), min_size=1, max_size=T)
    # Half of the predictions are right: random ones alone would hardly ever hit a span.
    kept = st.lists(st.tuples(pair, st.integers(0, 2**T - 1)), min_size=1, max_size=B)
    return kept.map(
        lambda rows: (
            [[true for true, _ in row] for row, _ in rows],
            [[t if bits >> k & 1 else g for k, (t, g) in enumerate(row)] for row, bits in rows],
        )
    )


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("scheme", PATTERNS)
def test_span_f1_equals_seqeval_in_its_strict_mode(scheme, types):
    labels = labels_of(scheme, TYPES[types])

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(sentences(labels))
    def check(pair):
        true, guess = pair
        assert our_f1(labels, true, guess, scheme) == pytest.approx(
            strict_f1(true, guess, scheme), abs=1e-6
        )

    check()


@pytest.mark.parametrize("scheme", ["IOB2", "IOBES"])
def test_words_that_do_not_count_are_left_out(scheme):
    labels = labels_of(scheme, TYPES["typed"])
    rng = np.random.default_rng(0)
    for _ in range(40):
        true = rng.integers(0, len(labels), (B, T))
        guess = np.where(rng.random((B, T)) < 0.7, true, rng.integers(0, len(labels), (B, T)))
        counts = rng.random((B, T)) < 0.7
        target = Categorical(len(labels), True, ("span_f1",), labels, scheme)
        y = jnp.asarray(np.where(counts, true, IGNORE_INDEX))
        rows = Batch(Examples(y, y), jnp.ones(B), jnp.arange(B))
        logits = jnp.asarray(np.eye(len(labels))[guess])
        correct, count = metric_sums(target, logits, rows)["span_f1"]
        sentences = (
            [[labels[k] for k in row[kept]] for row, kept in zip(tags, counts, strict=True)]
            for tags in (true, guess)
        )
        expected = strict_f1(*sentences, scheme)
        assert float(correct) / max(float(count), 1.0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        ("IOB1", "I-a I-a B-a O I-b"),
        ("IOB1", "O I I"),
        ("IOB2", "B-a I-a B-a O B-b"),
        ("IOB2", "B O I"),  # an error in the file: IOB1 never has B at the beginning
        ("IOB2", "B-a O"),
        ("IOE1", "I-a E-a I-a O I-b"),
        ("IOE2", "I-a E-a E-b O"),
        ("IOBES", "B-a E-a O S-b"),
        ("IOBES", "B I E O"),
        ("IOBES", "S-a O"),
        ("BILOU", "B-a I-a L-a U-b"),
        ("BMES", "B-a M-a E-a S-b"),
        ("none", "NOUN VERB PUNCT"),
        ("none", "NN M P VV"),  # M is a measure word of Chinese
    ],
)
def test_the_scheme_is_read_from_the_tags(scheme, sentence):
    assert detect_scheme([sentence.split()]) == scheme


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("O PER LOC", "got the tag 'LOC' among 2 tags and O, expected IOB1"),
        ("a-B a-I", "got the tag 'a-B'"),
        ("B-a NOUN", "got the tag 'NOUN'"),
        ("B-a M-a L-a", "got tags with the prefixes B, L, M, expected IOB1"),
    ],
)
def test_other_schemes_are_refused(tmp_path, sentence, message):
    with pytest.raises(ValueError, match=message):
        detect_scheme([sentence.split()])
    path = tmp_path / "a.conll"
    path.write_text("".join(f"w {tag}\n" for tag in sentence.split()))
    with pytest.raises(UserError, match=message):
        Tags.complete({"train": str(path)}, tmp_path)


def test_the_scheme_decides_the_metric():
    spans = Tags("a.conll", ("O", "B-a", "E-a"))
    assert (spans.metric, spans.target.scheme) == ("span_f1", "IOBES")
    parts = Tags("a.conll", ("NOUN", "VERB"))
    assert (parts.metric, parts.target.metrics) == ("accuracy", ("accuracy",))
    with pytest.raises(ValueError, match="scheme: got IOB1, which has no tag 'E-a'"):
        Tags("a.conll", ("O", "B-a", "E-a"), scheme="IOB1")
