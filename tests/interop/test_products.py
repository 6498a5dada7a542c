"""Products that one matrix computes."""

from lstm_lab.cells import CellSpec, MGUSpec, get_variant
from lstm_lab.cells.expressions import Old, Value, Weight
from lstm_lab.interop.products import GateTerm, addends_of, find_groups, gate_of, term_of
from lstm_lab.interop.trained_equations import trained_equations

X, U = GateTerm("W", Value("x")), GateTerm("U", Old("h"))


def groups_of(spec, order):
    return find_groups(trained_equations(spec, {}), order)


def test_terms_that_stand_in_the_same_sums_are_one_group():
    (group,) = groups_of(CellSpec(peephole="o"), "ifog")
    assert group.terms == (X, U, GateTerm("b"))
    assert group.gates == ("i", "f", "o", "g")  # the order of the weights, not that of their use


def test_terms_in_other_sums_are_other_groups():
    inputs, from_h, from_reset = groups_of(MGUSpec(), "fn")
    assert (inputs.terms, inputs.gates) == ((X, GateTerm("b")), ("f", "n"))
    assert (from_h.terms, from_h.gates) == ((U,), ("f",))
    assert (from_reset.terms, from_reset.gates) == (
        (GateTerm("U", Value("f") * Old("h")),),
        ("n",),
    )


def test_gate_recurrence_is_one_group_of_the_three_gates():
    fgr = groups_of(get_variant("fgr").spec, "ifog")
    assert [group.gates for group in fgr] == [("i", "f", "o", "g"), ("i", "f", "o")]
    assert {term.left for term in fgr[1].terms} == {Old("i"), Old("f"), Old("o")}


def test_weights_of_the_intermediate_state_are_no_gates():
    addend = Value("x") @ Weight("W", "m")
    assert (term_of(addend), gate_of(addend)) == (GateTerm("W_m", Value("x")), "")
    assert gate_of(Old("i") @ Weight("R", "if")) == "f"
    assert term_of(Value("c")) is None


def test_addends():
    a, b, c = Value("a"), Value("b"), Value("c")
    assert addends_of(a + b * c + c) == [a, b * c, c]
    assert addends_of(a * b) == [a * b]
