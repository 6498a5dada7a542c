"""Expressions have the probabilities of the grammar, and the values that Python gives them."""

import re
from collections import Counter
from fractions import Fraction
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lstm_lab.tasks.datasets.chomsky.context_free import solve_equation
from lstm_lab.tasks.datasets.chomsky.expressions import (
    MINUS,
    PLUS,
    TIMES,
    draw_expression,
    evaluate,
)
from tests.helpers.chomsky import EXPRESSION


@cache
def shapes(n):
    """Returns the probability of each form of an expression: d a digit, o an operator."""
    if n < 5:
        return {("d", "-d", "(d)", "(-d)")[n - 1]: Fraction(1)}
    found = Counter()
    for left in range(1, n - 3):
        for a, p in shapes(left).items():
            for b, q in shapes(n - 3 - left).items():
                found[f"({a}o{b})"] += p * q / (n - 4)
    return found


def drawn(n, count, operators=(PLUS, MINUS, TIMES)):
    """Draws expressions of n symbols; returns their texts and values."""
    keys = jax.random.split(jax.random.key(n), count)
    x = jax.jit(jax.vmap(partial(draw_expression, n=n, most=n, operators=operators)))(keys)
    values = jax.jit(jax.vmap(partial(evaluate, n=n)))(x)
    texts = ["".join(EXPRESSION[symbol] for symbol in row) for row in np.asarray(x).tolist()]
    return texts, np.asarray(values).tolist()


def form(text):
    """Returns the form of an expression; a minus after an operand is an operator."""
    return re.sub(r"[+*]|(?<=[d)])-", "o", re.sub(r"\d", "d", text))


@pytest.mark.parametrize("n", [7, 12])
def test_forms_have_the_probabilities_of_the_grammar(n):
    texts, values = drawn(n, 6000)
    counts, expected = Counter(map(form, texts)), shapes(n)
    assert set(counts) <= set(expected)
    assert sum(expected.values()) == 1
    frequencies = [6000 * float(p) for p in expected.values()]
    test = scipy.stats.chisquare([counts[name] for name in expected], frequencies)
    assert test.pvalue > 1e-3
    assert values == [eval(text) % 5 for text in texts]
    digits = Counter(c for text in texts for c in text if c in "01234")
    assert scipy.stats.chisquare(list(digits.values())).pvalue > 1e-3


def test_operators_are_uniform_and_may_be_restricted():
    texts, _ = drawn(5, 3000)
    assert scipy.stats.chisquare(list(Counter(text[2] for text in texts).values())).pvalue > 1e-3
    texts, _ = drawn(5, 300, (PLUS, MINUS))
    assert {text[2] for text in texts} == {"+", "-"}


@pytest.mark.parametrize("text", ["(2--3)", "(2*-3)", "(-1-(-2))", "((1+2)*(4-(-3)))", "-4"])
def test_signs_and_operators_are_told_apart(text):
    x = jnp.array([EXPRESSION.index(c) for c in text] + [0, 1])
    assert evaluate(x, len(text)) == eval(text) % 5


def test_the_unknown_replaces_the_first_digit_after_a_random_place():
    n, count = 9, 8000
    keys = jax.random.split(jax.random.key(0), count)
    x, _ = jax.jit(jax.vmap(partial(solve_equation, n=jnp.int32(n), most=n)))(keys)
    texts = ["".join(EXPRESSION[symbol] for symbol in row) for row in np.asarray(x).tolist()]
    assert {text[-2] for text in texts} == {"="}
    counts = Counter((form(text[:-2].replace("x", "0")), text.index("x")) for text in texts)
    expected = Counter()
    for shape, p in shapes(n - 2).items():
        for start in range(n - 2):
            place = next(k % (n - 2) for k in range(start, 2 * n) if shape[k % (n - 2)] == "d")
            expected[shape, place] += p / (n - 2)
    assert set(counts) <= set(expected)
    frequencies = [count * float(p) for p in expected.values()]
    test = scipy.stats.chisquare([counts[case] for case in expected], frequencies)
    assert test.pvalue > 1e-3
