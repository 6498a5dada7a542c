"""Mutants: copies of a file with one change, made by cosmic-ray, and random samples of them.

Left out: annotations and types; arithmetic replaced by shifts and bit operators, most of which end
in TypeError; `is` in place of `==`, which is the same for small values. Read next:
tests/reliability/mutants.py, which runs the tests on them.
"""

import ast
import re
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

from tests.helpers.paths import ROOT

ARITHMETIC = {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"}


class Mutant(NamedTuple):
    """A change: which occurrence of which operator of cosmic-ray, in a file of lstm_lab."""

    file: str
    operator: str
    occurrence: int

    def code(self):
        """Returns the changed file."""
        operator = OperatorProvider()[self.operator]()
        return mutate_code(read(self.file), operator, self.occurrence)

    def compiles(self):
        """Returns whether the changed file is Python."""
        try:
            compile(self.code(), self.file, "exec")
        except SyntaxError:
            return False
        return True


def read(file):
    """Returns a file of the package."""
    return (ROOT / "lstm_lab" / f"{file}.py").read_text()


def is_sensible(operator):
    """Returns whether the mutants of an operator are worth a test run; the docstring says why."""
    if found := re.fullmatch(r"ReplaceBinaryOperator_(\w+)_(\w+)", operator):
        return (found[1] in ARITHMETIC) == (found[2] in ARITHMETIC)
    return not re.fullmatch(r"ReplaceComparisonOperator_(?!Is)\w+_Is(Not)?", operator)


def types(code):
    """Returns the start and end of each annotation, and of each union of types with a name."""
    parts = []
    for node in ast.walk(ast.parse(code)):
        parts += [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            parts += [] if node.col_offset else [node.value]
    return [((p.lineno, p.col_offset), (p.end_lineno, p.end_col_offset)) for p in parts if p]


def possible(file):
    """Returns all mutants of a file."""
    code, provider, mutants = read(file), OperatorProvider(), []
    nodes, left_out = list(ast_nodes(get_ast(code))), types(code)
    for name in filter(is_sensible, provider):
        if provider[name].arguments():
            continue  # the two that need the names of variables
        places = [p for node in nodes for p in provider[name]().mutation_positions(node)]
        for k, (start, _) in enumerate(places):
            if not any(first <= start < last for first, last in left_out):
                mutants.append(Mutant(file, name, k))
    return mutants


def drawn(files, count, rng):
    """Draws mutants from each file, in proportion to their numbers."""
    files = {file: possible(file) for file in files}
    total, sample = sum(map(len, files.values())), []
    for mutants in files.values():
        share = max(1, round(count * len(mutants) / total))
        rng.shuffle(mutants)
        valid = filter(Mutant.compiles, mutants)
        sample += [mutant for mutant, _ in zip(valid, range(share), strict=False)]
    print(f"{len(sample)} of {total} mutants", flush=True)
    rng.shuffle(sample)
    return sample
