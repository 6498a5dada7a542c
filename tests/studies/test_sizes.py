"""Fair sizes: variants with the parameters or FLOP of the baseline."""

import pytest

from lstm_lab.models.summary import summarize
from lstm_lab.studies import grid
from lstm_lab.studies.expand import final_runs
from lstm_lab.studies.sizes import match_size
from lstm_lab.utils.errors import UserError
from tests.helpers.sweep import tiny_study
from tests.helpers.training import small_spec


@pytest.mark.parametrize("cell", ["fgr", "cifg", "gru", "rnn"])
@pytest.mark.parametrize("match", ["params", "flops"])
def test_no_neighboring_hidden_size_is_closer(cell, match):
    reference = small_spec(model={"cell": "vanilla", "hidden": 40})

    def size(spec):
        summary = summarize(spec)
        return summary.total if match == "params" else summary.flops_per_token

    matched = match_size(small_spec(model={"cell": cell}), reference, match)
    gap = abs(size(matched) - size(reference))
    for hidden in (matched.model.hidden - 1, matched.model.hidden + 1):
        assert gap <= abs(
            size(small_spec(model={"cell": cell, "hidden": hidden})) - size(reference)
        )
    assert (matched.model.hidden < 40) == (cell == "fgr")


def test_a_study_matches_every_variant_to_its_baseline():
    one = tiny_study(axes=(grid("model.cell", ("lstm", "fgr", "rnn")),), match="params")
    sizes = {run.variant: summarize(run.spec).total for run in final_runs(one, {})}
    assert sizes["fgr"] == pytest.approx(sizes["lstm"], rel=0.25)
    assert sizes["rnn"] == pytest.approx(sizes["lstm"], rel=0.25)
    with pytest.raises(UserError, match="got baseline=None"):
        final_runs(tiny_study(match="params", baseline=None), {})
    with pytest.raises(UserError, match="got model.hidden_sizes, expected None"):
        match_size(small_spec(model={"hidden_sizes": (3, 4)}), small_spec(), "params")


def test_flops_of_an_lstm_layer_equal_its_matrix_products():
    """A multiply-add counts as two operations; the head runs once per sequence."""
    spec = small_spec(model={"cell": "np", "hidden": 16})
    T = 50
    layer = 2 * (2 + 16) * 4 * 16
    head = 2 * 16 * 1 / T
    assert summarize(spec, T=T).flops_per_token == pytest.approx(layer + head, rel=0.02)
