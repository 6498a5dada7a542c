"""The page of a result: chart, tables, command and all times."""

import json

import pytest

from lstm_lab.bench.cases import cases
from lstm_lab.bench.collect import collected
from lstm_lab.bench.page import TITLES, write_page
from lstm_lab.bench.table import markdown
from lstm_lab.cli.benchmarks import SUITES
from tests.helpers.bench import bench_result, bench_row

NAMES = ("lstm_lab", "torch", "flax", "keras", "haiku", "equinox")


@pytest.fixture(scope="module")
def result():
    rows = [
        bench_row(name, [1.0 + k, 2.0, 1.5], case, memory=memory)
        for case in cases("layer")
        for k, name in enumerate(NAMES)
        for memory in (False, True)
    ]
    return bench_result(rows)


def test_a_page_has_machine_command_chart_tables_and_times(tmp_path, result):
    files = write_page(tmp_path, result, markdown(result))
    assert sorted(path.name for path in files) == ["layer.json", "layer.md", "layer.png"]
    text = (tmp_path / "layer.md").read_text()
    assert text.startswith("# Measured: One layer and one stack\n\nsome GPU in a CPU, 2 cores")
    assert "```\nlstm-lab bench --suite=layer\n```" in text
    assert "](layer.png)" in text
    assert "| B 64, T 40, D 300, H 512, 3 layers |" in text
    assert json.loads((tmp_path / "layer.json").read_text()) == result
    # Files of the repository stay small.
    assert max(path.stat().st_size for path in files) < 2**20


def test_the_same_result_gives_the_same_files(tmp_path, result):
    for folder in ("a", "b"):
        write_page(tmp_path / folder, result, markdown(result))
    for name in ("layer.md", "layer.json", "layer.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_suite_has_a_title():
    assert set(TITLES) == set(SUITES)


def test_the_steps_of_a_stream_have_a_page(tmp_path):
    rows = [
        bench_row(name, [ms], case)
        for case in cases("streaming")
        for name, ms in (("lstm_lab", 1.0), ("onnxruntime", 2.0))
    ]
    result = bench_result(rows, "streaming")
    write_page(tmp_path, result, markdown(result))
    text = (tmp_path / "streaming.md").read_text()
    assert text.startswith("# Measured: One step of a stream\n\nsome GPU in a CPU, 2 cores")
    assert "### One step of a stream\n\n`lstm-lab bench --suite=streaming`" in collected(tmp_path)


def test_a_result_without_ratios_has_no_chart(tmp_path):
    rows = [bench_row("torch", [1.0], cases("layer")[0])]
    result = bench_result(rows)
    files = write_page(tmp_path, result, markdown(result))
    assert [path.name for path in files] == ["layer.md", "layer.json"]
    assert ".png" not in (tmp_path / "layer.md").read_text()
