"""The library of the Hugging Face Hub reads a card of ours and finds the same scores in it."""

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from lstm_lab.cards.card import model_card
from lstm_lab.cards.facts import read_facts
from lstm_lab.results.run_files import read_result
from tests.helpers.training import small_spec, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train([small_spec()], folder)
    return folder / "0"


def test_the_hub_finds_the_scores_of_the_run(run):
    data = ModelCard(model_card(run)).data
    expected = read_result(run)["test"]
    assert all(isinstance(result, EvalResult) for result in data.eval_results)
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == pytest.approx(expected, rel=1e-5)
    assert {result.dataset_type for result in data.eval_results} == {"adding"}
    assert {result.dataset_split for result in data.eval_results} == {"test"}
    assert data.model_name == f"adding-lstm-{read_facts(run).record.id}"
    assert (data.library_name, data.license, data.datasets) == ("lstm_lab", None, None)


def test_the_library_writes_the_same_metadata(run):
    """No field is unknown to it, and none is lost."""
    card = ModelCard(model_card(run))
    fields = card.data.to_dict()
    assert ModelCardData(**fields).to_dict() == fields
    known = vars(ModelCardData()).keys() | {"model-index"}
    assert set(fields) <= known
    assert ModelCard(card.content).data.to_dict() == fields


def test_the_text_below_the_front_matter_is_whole(run):
    card = model_card(run)
    text = ModelCard(card).text.lstrip()
    assert text.startswith("# adding-lstm-")
    assert text == card[card.index("\n# ") + 1 :]
