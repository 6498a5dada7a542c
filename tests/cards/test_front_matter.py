"""The front matter: YAML that another program reads back, with the Hub's names."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lstm_lab.cards.facts import read_facts
from lstm_lab.cards.front_matter import HUB_METRICS, HUB_TASKS, front_matter, front_matter_text
from lstm_lab.tasks import DIRECTIONS, TASKS


def parsed(facts):
    """Returns what a YAML parser finds between the two lines `---`."""
    start, text, end = front_matter_text(facts).split("---\n")
    assert (start, end) == ("", "")
    return yaml.safe_load(text)


@pytest.fixture
def facts(series):
    return read_facts(series)


def test_the_result_of_the_test_split_is_in_the_index(facts):
    (model,) = parsed(facts)["model-index"]
    (result,) = model["results"]
    assert model["name"] == f"po'we*r*.csv-lstm-{facts.record.id}"
    assert result["task"] == {"type": "time-series-forecasting", "name": "series"}
    assert result["dataset"] == {"type": "po'we*r*.csv", "name": "po'we*r*.csv", "split": "test"}
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    expected = {f"test {name}": value for name, value in facts.record.test.items()}
    assert values == pytest.approx(expected, rel=1e-5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=12), st.floats(1e-30, 1e30))
@example("one\x85two\u2028three", 1.0)
def test_any_name_and_any_score_come_back(facts, name, score):
    record = replace(facts.record, test={"mse": score, "auc": float("nan")})
    unusual = replace(facts, record=record, data=replace(facts.data, name=name))
    (result,) = parsed(unusual)["model-index"][0]["results"]
    assert result["dataset"]["name"] == name
    # A metric without a value is left out: YAML's .nan is not a number for the Hub.
    (metric,) = result["metrics"]
    assert metric["value"] == pytest.approx(score, rel=1e-5)
    assert isinstance(metric["value"], float)


def test_names_are_those_of_tasks_and_metrics_of_the_package():
    assert set(HUB_TASKS) <= set(TASKS)
    final = {name for task in TASKS.values() for name in task.final_metric_directions}
    assert set(HUB_METRICS) <= set(DIRECTIONS) | final


def test_only_data_sets_of_the_hub_are_named(facts):
    assert "datasets" not in front_matter(facts)


def test_metrics_that_the_hub_lacks_are_only_in_the_index(facts):
    record = replace(facts.record, test={"nll": 1.0, "span_f1": 0.5})
    fields = front_matter(replace(facts, record=record))
    assert fields["metrics"] == ["seqeval"]
    types = [m["type"] for m in fields["model-index"][0]["results"][0]["metrics"]]
    assert types == ["nll", "seqeval"]


def test_a_task_of_the_users_has_no_name_of_the_hub(facts):
    settings_of_run = {**facts.record.settings, "task.name": "mine.py:series"}
    fields = front_matter(replace(facts, record=replace(facts.record, settings=settings_of_run)))
    assert "pipeline_tag" not in fields
    assert fields["model-index"][0]["results"][0]["task"]["type"] == "other"
