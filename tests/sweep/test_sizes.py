"""Fair sizes: parameters and operations as the baseline has them."""

import pytest

from lstm_lab.models.summary import summarize
from lstm_lab.sweep.axes import grid
from lstm_lab.sweep.sizes import matched
from lstm_lab.sweep.study import final_runs
from lstm_lab.utils.errors import UserError
from tests.helpers.sweep import tiny_study
from tests.helpers.training import small


@pytest.mark.parametrize("cell", ["fgr", "cifg", "gru", "rnn"])
@pytest.mark.parametrize("match", ["params", "flops"])
def test_no_other_hidden_size_is_nearer(cell, match):
    reference = small(model={"cell": "vanilla", "hidden": 40})

    def size(spec):
        found = summarize(spec)
        return found.total if match == "params" else found.flops_per_token

    found = matched(small(model={"cell": cell}), reference, match)
    gap = abs(size(found) - size(reference))
    for hidden in (found.model.hidden - 1, found.model.hidden + 1):
        assert gap <= abs(size(small(model={"cell": cell, "hidden": hidden})) - size(reference))
    assert (found.model.hidden < 40) == (cell == "fgr")


def test_a_study_matches_every_variant_to_its_baseline():
    one = tiny_study(axes=(grid("model.cell", ("lstm", "fgr", "rnn")),), match="params")
    sizes = {run.variant: summarize(run.spec).total for run in final_runs(one, {})}
    assert sizes["fgr"] == pytest.approx(sizes["lstm"], rel=0.25)
    assert sizes["rnn"] == pytest.approx(sizes["lstm"], rel=0.25)
    with pytest.raises(UserError, match="needs a baseline"):
        final_runs(tiny_study(match="params", baseline=None), {})
    with pytest.raises(UserError, match="allowed without model.hidden_sizes"):
        matched(small(model={"hidden_sizes": (3, 4)}), small(), "params")


def test_operations_are_counted_whatever_computes_them():
    """The products of an LSTM layer and its head, a multiplication and an addition as two."""
    spec = small(model={"cell": "np", "hidden": 16})
    T = 50
    layer = 2 * (2 + 16) * 4 * 16
    head = 2 * 16 * 1 / T
    assert summarize(spec, T=T).flops_per_token == pytest.approx(layer + head, rel=0.02)
