"""`describe` covers every variant: its arrays, their shapes, its options and its rates."""

import math

import jax
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, get_variant
from lstm_lab.cells.describe import DEVIATIONS, describe, purpose, show_text
from lstm_lab.cells.masks import default_rates

SIZES = ({"D": 7, "H": 10, "3H": 30, "R": 5}, {"D": 3, "H": 6, "3H": 18, "R": 3})


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", CATALOGUE)
def test_the_letters_of_the_shapes_are_the_sizes_of_the_arrays(name, sizes):
    spec = get_variant(name).spec
    params = spec.cell.init(spec, jax.random.key(0), sizes["D"], sizes["H"])
    known = {**sizes, "N": getattr(spec, "heads", 1)}
    known["H/N"] = sizes["H"] // known["N"]
    written = {array.name: array.shape.strip("[]").split(", ") for array in describe(name).arrays}
    shapes = {
        key: tuple(known.get(letter) or int(letter) for letter in letters)
        for key, letters in written.items()
    }
    assert shapes == {key: value.shape for key, value in params.items()}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_page_is_complete(name):
    page, text = describe(name), show_text(name)
    assert text.startswith(f"{name}: {get_variant(name).change}\nPaper: ")
    for equation in page.equations:
        assert f"  {equation.text}\n" in text
    for array in page.arrays:
        assert array.purpose
        assert array.symbols
        assert array.shape in text
    names = [symbol for array in page.arrays for symbol in array.symbols]
    assert len(names) == len(set(names))
    assert all(option.text for option in page.options)
    assert page.rates == default_rates(page.spec)
    assert all(f"model.{rate}" in text for rate in page.rates)
    assert max(map(len, text.split("\n"))) <= 100


def test_options_show_the_difference_from_lstm():
    differing = {o.name: (o.value, o.in_lstm) for o in describe("cifg").options if o.in_lstm}
    assert differing == {
        "gates": ("'io'", "'ifo'"),
        "coupled": ("True", "False"),
        "peephole": ("'io'", "''"),
        "forget_bias": ("0.0", "1.0"),
        "init": ("'normal(0.1)'", "'orthogonal'"),
    }
    assert not [option for option in describe("lstm").options if option.in_lstm]
    assert [option.name for option in describe("gru").options] == ["reset", "init"]


def test_arrays_have_the_symbols_of_the_equations():
    arrays = {array.name: array for array in describe("gru").arrays}
    assert arrays["wh"].symbols == ("U_r", "U_z", "U_n")
    assert arrays["bn"].symbols == ("b_hn",)
    assert arrays["wh"].purpose == "hidden state to gates r, z, n"
    recurrent = next(a for a in describe("fgr").arrays if a.name == "wg")
    assert len(recurrent.symbols) == math.prod((3, 3))
    # A long list shows its ends.
    assert "R_ii, ..., R_oo" in show_text("fgr")


def test_deviations_are_of_variants_and_state_the_forget_bias():
    assert set(DEVIATIONS) <= set(CATALOGUE)
    assert "before the product" in " ".join(describe("gru").deviations)
    for name, variant in CATALOGUE.items():
        stated = any("forget bias is 1" in text for text in describe(name).deviations)
        has = isinstance(variant.spec, CellSpec) and variant.spec.forget_bias == 1.0
        assert stated == (has and name != "lstm")


def test_an_unknown_variant_raises_as_in_the_catalogue():
    with pytest.raises(ValueError, match=r"got 'peephol'; did you mean 'peephole'\?"):
        show_text("peephol")


def test_an_unknown_array_has_no_purpose():
    assert purpose(get_variant("lstm").spec, "mine") == ""
