"""The problems of the Chomsky hierarchy solved in plain Python: from a question to its answer.

Each solver takes the symbols of a question and the length that was asked for, checks the form of
the question, and returns the answer up to its end, without what does not count.
"""

import math
from itertools import pairwise

EXPRESSION = "01234+-*()x="
SIMPLE = "01234+-*"


def even_pairs(x, n):
    assert len(x) == n
    return [sum(a != b for a, b in pairwise(x)) % 2]


def modular_arithmetic(x, n):
    assert len(x) == (n if n % 2 else n - 1)
    assert all(symbol < 5 for symbol in x[::2])
    assert all(symbol >= 5 for symbol in x[1::2])
    return [eval("".join(SIMPLE[symbol] for symbol in x)) % 5]


def parity_check(x, n):
    assert len(x) == n
    return [x.count(1) % 2]


def cycle_navigation(x, n):
    assert len(x) == n
    return [(x.count(2) - x.count(0)) % 5]


def stack_manipulation(x, n):
    assert len(x) == n
    text = "".join("01abc"[symbol] for symbol in x)
    stack = list(text.rstrip("abc"))
    assert stack
    assert set(stack) <= {"0", "1"}
    assert n == 1 or len(stack) < n
    for action in text[len(stack) :]:
        if action == "b" or action == "c":
            stack.append("0" if action == "b" else "1")
        elif stack:
            stack.pop()
    return [*map(int, reversed(stack)), 2]


def reverse_string(x, n):
    assert len(x) == n
    return x[::-1]


def is_expression(text):
    """Whether the grammar derives a text; tried recursively, as the grammar is written."""
    if not text:
        return False
    if len(text) < 5:
        form = "".join("d" if c in "01234" else c for c in text)
        return form in ("d", "-d", "(d)", "(-d)")
    if text[0] != "(" or text[-1] != ")":
        return False
    depth = 0
    for k, c in enumerate(text[1:-1], 1):
        depth += (c == "(") - (c == ")")
        # The operator of the outermost bracket: both sides have to be expressions.
        if depth == 0 and c in "+-*" and all(map(is_expression, (text[1:k], text[k + 1 : -1]))):
            return True
    return False


def modular_arithmetic_brackets(x, n):
    text = "".join(EXPRESSION[symbol] for symbol in x)
    assert len(text) == n
    assert is_expression(text), text
    return [eval(text) % 5]


def solve_equation(x, n):
    if n < 3:
        assert x == [0] * n
        return [0]
    text = "".join(EXPRESSION[symbol] for symbol in x)
    assert len(text) == n
    left, right = text.split("=")
    assert is_expression(left.replace("x", "0"))
    assert "*" not in left
    assert left.count("x") == 1
    solutions = [d for d in range(5) if (eval(left.replace("x", str(d))) - int(right)) % 5 == 0]
    assert len(solutions) == 1
    return solutions


def duplicate_string(x, n):
    assert len(x) == n
    return x + x


def missing_duplicate(x, n):
    assert len(x) == n
    if n == 1:
        assert x == [1]
        return [1]
    if n % 2:
        assert x.pop() == 3
    half = n // 2
    place = x.index(2)
    assert x.count(2) == 1
    first, second = x[:half], x[half:]
    answer = second[place] if place < half else first[place - half]
    x[place] = answer
    assert x[:half] == x[half:]
    return [answer]


def odds_first(x, n):
    assert len(x) == n
    return x[1::2] + x[::2]


def number(bits):
    """The number of some bits, the lowest first."""
    return int("".join(map(str, reversed(bits))), 2)


def binary(value):
    """The bits of a number, the lowest first, without zeros at their end."""
    return [int(bit) for bit in reversed(f"{value:b}")]


def two_numbers(x, n):
    assert len(x) == n
    place = x.index(2)
    numbers = number(x[:place]), number(x[place + 1 :])
    assert min(numbers) > 0
    return numbers


def binary_addition(x, n):
    if n <= 2:
        assert number(x) < 2**n - 1
        return [*binary(number(x)), 2]
    return [*binary(sum(two_numbers(x, n))), 2]


def binary_multiplication(x, n):
    if n <= 2:
        assert number(x) < 2**n - 1
        return [*[0] * (n - 1), 2]
    return [*binary(math.prod(two_numbers(x, n))), 2]


def compute_sqrt(x, n):
    assert len(x) == n
    value = number(x[::-1])
    assert value > 0
    size = math.ceil(n / 2)
    return [int(bit) for bit in f"{math.isqrt(value):0{size}b}"]


def bucket_sort(x, n):
    assert len(x) == n
    return sorted(x)
