"""The sections of a card, compared with the files of the run."""

from dataclasses import replace

import pytest
import scipy.stats
from markdown_it import MarkdownIt

from lstm_lab.cards.facts import read_facts
from lstm_lab.cards.provenance import provenance_section
from lstm_lab.cards.sections import (
    data_section,
    fenced,
    model_section,
    scores_section,
    settings_section,
)
from lstm_lab.config.ids import run_id
from lstm_lab.config.parsing import build_spec
from lstm_lab.results.run_files import read_result
from lstm_lab.utils.files import read_json
from tests.helpers.markdown_tables import tables


def changed(facts, **settings):
    """Returns the facts with other settings; dots of their names are written as `__`."""
    new = {name.replace("__", "."): value for name, value in settings.items()}
    record = replace(facts.record, settings={**facts.record.settings, **new})
    return replace(facts, record=record)


def test_the_scores_are_those_of_the_result(run):
    header, *rows = tables(scores_section(read_facts(run)))[0]
    result = read_result(run)
    assert header == ["metric", "better", "validation", "test", "constant (test)"]
    for name, better, valid, test, constant in rows:
        assert better == "lower"
        numbers = (result["best"]["valid"], result["test"], result["trivial"]["constant"])
        for shown, of_split in zip((valid, test, constant), numbers, strict=True):
            assert float(shown) == pytest.approx(of_split[name], rel=1e-3)


def test_a_single_run_has_no_interval(run):
    text = scores_section(read_facts(run))
    assert "95 %" not in text
    assert "a single run has no spread over seeds" in text


def test_the_interval_over_seeds_is_students(study):
    plan = read_json(study / "study.json")["runs"]
    final = [study / "runs" / run for run, row in plan.items() if row["stage"] == "final"]
    text = scores_section(read_facts(final[0]))
    header, *rows = tables(text)[0]
    assert header[4:6] == ["mean test, 3 seeds", "95 % interval"]
    for row in rows:
        scores = [read_result(folder)["test"][row[0]] for folder in final]
        mean = sum(scores) / 3
        low, high = scipy.stats.t.interval(0.95, 2, mean, scipy.stats.sem(scores))
        shown = [float(row[4]), *map(float, row[5].split(" to "))]
        assert shown == pytest.approx([mean, low, high], rel=1e-3, abs=1e-4)
    assert "(seeds 3, 4, 5)" in text
    assert "those of seed 3" in text


def test_a_score_without_a_value_leaves_its_cell_empty(run):
    facts = read_facts(run)
    record = replace(facts.record, test={"mse": 1e-7, "mae": float("nan")})
    rows = tables(scores_section(replace(facts, record=record)))[0]
    assert [row[3] for row in rows[1:]] == ["1e-07", ""]


def test_the_settings_are_enough_to_train_the_run_again(run):
    facts = read_facts(run)
    sections = {"task": {"name": "adding"}, "model": {}, "optim": {}, "train": {}, "compute": {}}
    for name, value, default in tables(settings_section(facts))[0][1:]:
        assert value != default
        section, _, field = name.partition(".")
        number = None if value == "None" else float(value) if "." in value else value
        sections[section][field] = int(value) if value.isdigit() else number
    spec = build_spec({**sections, "seed": facts.record.seed})
    assert run_id(spec) == facts.record.id


def test_names_of_users_are_shown_and_not_interpreted(series):
    facts = read_facts(series)
    text = "\n\n".join([data_section(facts), settings_section(facts), provenance_section(facts)])
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inner = [part for token in tokens for part in (token.children or [token])]
    assert not [token for token in inner if token.type.startswith(("html", "em_", "strong"))]
    assert "load|<b>: *x*" in "".join(token.content for token in inner if token.type == "text")
    assert all(len({len(row) for row in rows}) == 1 for rows in tables(text))


def test_folders_of_the_author_are_not_published(series):
    text = "\n".join(section(read_facts(series)) for section in (data_section, settings_section))
    assert r"po'we\*r\*.csv" in text
    assert str(series.parents[1]) not in text


def test_of_a_path_the_last_name_is_published(run, series):
    secret = "acme/clients/p"
    facts = changed(read_facts(series), task__file=f"{secret}.csv", task__targets=["/a/load"])
    facts = changed(facts, model__init_from=f"../{secret}/", model__vectors=f"{secret}.txt")
    rows = {name: value for name, value, _ in tables(settings_section(facts))[0][1:]}
    names = ("task.file", "task.targets", "model.init_from", "model.vectors")
    assert [rows[name] for name in names] == ["p.csv", "load", "p", "p.txt"]
    own = changed(read_facts(run), task__name=f"{secret}.py:Mine", task__parts=[secret, "b"])
    own = changed(own, model__cell=f"{secret}.py:cell")
    rows = {name: value for name, value, _ in tables(settings_section(own))[0][1:]}
    assert (rows["task.parts"], rows["model.cell"]) == ("p, b", "p.py:cell")


def test_the_hash_of_a_users_data_is_shortened(series):
    facts = read_facts(series)
    assert f"(SHA-256 of all files: {facts.data.sha256[:12]})" in data_section(facts)


def test_the_model_says_what_the_run_changed_in_its_variant(run):
    facts = changed(read_facts(run), model__cell="zoneout", model__forget_bias=0.0)
    facts = changed(facts, model__zoneout_c=0.25, model__layers=2)
    text = model_section(facts)
    rows = dict(tables(text)[0])
    assert "Here it has forget bias 0.0." in text
    assert "c = k_c * c' + (1 - k_c) * c~" in text
    assert rows["zoneout c"] == "0.25 in training"
    assert rows["zoneout h"] == "0.05 in training"
    assert rows["recurrent layers"] == "2 with 5 hidden units"
    sizes = changed(facts, model__hidden_sizes=[4, 8], model__bidirectional=True)
    layers = dict(tables(model_section(sizes))[0])["recurrent layers"]
    assert layers == "2 with 4, 8 hidden units in each direction, joined by concat"
    assert rows["parameters"] == f"{read_result(run)['parameters']:,}"


def test_a_cell_of_the_users_has_no_equations_of_the_catalogue(run):
    text = model_section(changed(read_facts(run), model__cell="mine.py:lstm"))
    assert "author's own" in text
    assert "sigmoid" not in text


def test_a_fence_is_longer_than_those_in_its_text():
    text = "a\n````\nb"
    (token,) = MarkdownIt("commonmark").parse(fenced(text))
    assert (token.type, token.content) == ("fence", f"{text}\n")
