"""Word problems: tables are those of groups, and targets are products of permutations."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.tasks import WordProblem
from lstm_lab.tasks.datasets.groups import cayley_table, group_elements, group_order

PAPER = {"Z60": 60, "A4xZ5": 60, "A5": 60, "S5": 120}


def draw(task, n, seed):
    return jax.device_get(jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(seed), n)))


def inverses(table_NN):
    """Returns the right inverse of each element [N]."""
    return (table_NN == 0).argmax(1)


def conjugacy_classes(table_NN):
    """Returns the classes { g a g^-1 : g } as sets of elements."""
    N = len(table_NN)
    conjugates_NN = table_NN[table_NN, inverses(table_NN)[:, None]]  # of g (rows) and a (columns)
    return {frozenset(conjugates_NN[:, a].tolist()) for a in range(N)}


def normal_subgroup_orders(table_NN):
    """Returns the orders of all normal subgroups: unions of classes that are closed."""
    classes = sorted(conjugacy_classes(table_NN), key=len)
    orders = set()
    for chosen in range(2 ** (len(classes) - 1)):
        # The class of the identity is in every subgroup.
        parts = [c for k, c in enumerate(classes[1:]) if chosen >> k & 1]
        elements = np.array(sorted(classes[0].union(*parts)))
        if np.isin(table_NN[np.ix_(elements, elements)], elements).all():
            orders.add(len(elements))
    return orders


@pytest.mark.parametrize("group", [*PAPER, "S3", "S3xZ4", "Z2xZ3xA4"])
def test_a_table_is_that_of_a_group(group):
    table_NN = cayley_table(group)
    N = group_order(group)
    assert table_NN.shape == (N, N)
    # Closed, and each row and column has every element once: a Latin square.
    for lines in (table_NN, table_NN.T):
        np.testing.assert_array_equal(np.sort(lines, axis=1), np.tile(np.arange(N), (N, 1)))
    np.testing.assert_array_equal(table_NN[0], np.arange(N))
    np.testing.assert_array_equal(table_NN[:, 0], np.arange(N))
    inverse_N = inverses(table_NN)
    assert (table_NN[np.arange(N), inverse_N] == 0).all()
    assert (table_NN[inverse_N, np.arange(N)] == 0).all()
    # (a b) c = a (b c) for all triples.
    np.testing.assert_array_equal(table_NN[table_NN], table_NN[:, table_NN])


def test_the_groups_of_the_paper_have_their_known_properties():
    tables = {group: cayley_table(group) for group in PAPER}
    assert {group: len(table) for group, table in tables.items()} == PAPER
    abelian = [group for group, table in tables.items() if (table == table.T).all()]
    assert abelian == ["Z60"]
    # Textbook sizes of the classes of A5 and S5.
    sizes = {group: sorted(map(len, conjugacy_classes(tables[group]))) for group in ("A5", "S5")}
    assert sizes == {"A5": [1, 12, 12, 15, 20], "S5": [1, 10, 15, 20, 20, 24, 30]}
    # A5 is simple, S5 has A5 in between, and A4, which is solvable, has Klein's four-group.
    assert normal_subgroup_orders(tables["A5"]) == {1, 60}
    assert normal_subgroup_orders(tables["S5"]) == {1, 60, 120}
    assert normal_subgroup_orders(cayley_table("A4")) == {1, 4, 12}


def test_nobody_can_change_the_shared_table():
    with pytest.raises(ValueError, match="read-only"):
        cayley_table("Z3")[0, 0] = 1


def test_orders_of_elements_of_a_cyclic_group_are_those_of_euler():
    table_NN, powers = cayley_table("Z60"), np.zeros(60, int)
    orders = np.zeros(60, int)
    for exponent in range(1, 61):
        powers = table_NN[powers, np.arange(60)]
        orders[(powers == 0) & (orders == 0)] = exponent
    # phi(60) = 16 generators.
    assert (orders == 60).sum() == 16
    np.testing.assert_array_equal(orders, 60 // np.gcd(60, np.arange(60)))


@pytest.mark.parametrize("group", PAPER)
def test_targets_are_prefix_products_of_permutations(group):
    drawn = draw(WordProblem(group=group, length=17), 40, seed=3)
    elements_NP = group_elements(group)
    for x_T, y_T in zip(drawn.x, drawn.y, strict=True):
        product_P = list(range(elements_NP.shape[1]))
        for x, y in zip(x_T, y_T, strict=True):
            # (product x)(i) = product(x(i)): the new element, on the right, is applied first.
            product_P = [product_P[point] for point in elements_NP[x]]
            assert product_P == elements_NP[y].tolist()


def test_elements_are_drawn_uniformly():
    drawn = draw(WordProblem(group="S3", length=6), 4000, seed=0)
    for tokens in (drawn.x, drawn.y[:, -1]):
        expected = tokens.size / 6
        counts = np.bincount(tokens.ravel(), minlength=6)
        # Chi-square with 5 degrees of freedom exceeds 20.5 with probability 0.001.
        assert ((counts - expected) ** 2 / expected).sum() < 20.5


def test_the_test_split_has_its_own_length():
    task = WordProblem(group="Z3", length=5, test_length=9, valid_size=4, test_size=3)
    splits = task.load(Path("nowhere")).splits
    assert splits["valid"].x.shape == (4, 5)
    assert splits["test"].y.shape == (3, 9)
    # Logits that are right, but for the last step of one of the three sequences.
    outputs = np.eye(3)[splits["test"].y]
    outputs[1, -1] = np.roll(outputs[1, -1], 1)
    curve = task.final_curves(outputs, splits["test"], {})["accuracy_by_length"]
    assert task.curve_names == ("accuracy_by_length",)
    assert (curve.x, curve.mark) == (tuple(range(1, 10)), 5)
    np.testing.assert_allclose(curve.y, [1.0] * 8 + [2 / 3])
    assert (task.inputs.vocabulary, task.target.size) == (3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "Q8"}, "group: got 'Q8', expected Zn, Sn, An or a product, as A4xZ5"),
        ({"group": "A4 x Z5"}, "expected Zn, Sn, An"),
        ({"group": "S7"}, "group: got 'S7' of order 5040, expected an order of 2 to 720"),
        ({"group": "A2"}, "of order 1, expected an order of 2 to 720"),
        ({"length": 0}, "length: got 0, expected 1 or more"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        WordProblem(**options)
