"""Markdown tables of times, first calls, cells and costs."""

from lstm_lab.bench import cell_table, costs
from lstm_lab.bench.cases import Case
from lstm_lab.bench.table import markdown
from tests.helpers.bench import bench_result as result
from tests.helpers.bench import bench_row

CASE = Case("gradient", 4, 6, 5, 8)


def row(name, ms, case=CASE, **facts):
    return bench_row(name, ms, case, **facts)


def test_ratios_are_our_time_over_theirs():
    for ours in ("lstm_lab", "lstm_lab tf32"):
        text = markdown(result([row(ours, [1.0, 2.0, 3.0]), row("torch bf16", [2.0, 2.0, 2.0])]))
        assert "some GPU in a CPU" in text
        assert f"| {CASE.label} | 2 | 2 (1.00; 0.50-1.50) |" in text
    text = markdown(result([row("lstm_lab scan", [1.0]), row("lstm_lab fused", [2.0])]))
    assert f"| {CASE.label} | 1 | 2 |" in text


def test_the_summary_follows_each_table_and_all_tables():
    rows = [row("lstm_lab", [1.0]), row("torch", [2.0])]
    other = Case("forward", 4, 6, 5, 8)
    rows += [row("lstm_lab", [4.0], other), row("torch", [2.0], other)]
    text = markdown(result(rows))
    forward = text.partition("**Forward**")[2].partition("**")[0]
    assert "worst 2.00" in forward
    assert "geometric mean 1.00, worst 2.00" in text.partition("**All kinds of work**")[2]


def test_first_calls_and_failures_are_shown():
    rows = [row("lstm_lab", [1.0], first_ms=2500.0), row("torch", [1.0], first_ms=5.0)]
    fault = {"contender": "keras", "memory_settings": True, "work": "gradient", "label": "a"}
    text = markdown(result(rows, errors=[{**fault, "error": "out of memory"}]))
    assert f"| gradient: {CASE.label} | 2.5 | 0.005 |" in text
    assert "- keras, with the memory settings, gradient, a: out of memory" in text


def test_the_table_of_cells_shows_what_each_backend_serves():
    gru = Case("gradient", 4, 6, 5, 8, cell="gru")
    deviation = {"outputs": 2e-7, "gradients": 3e-6}
    rows = [
        row("lstm_lab scan", [4.0], auto="native"),
        row("lstm_lab native", [1.0], auto="native", deviation=deviation),
        row("lstm_lab scan", [2.0], gru, auto="scan"),
    ]
    text = cell_table.markdown(result(rows))
    assert "| cell | auto | scan | native |" in text
    assert "| lstm | native | 4 | 1 (0.25; 0.25-0.25; 2e-07 / 3e-06) |" in text
    assert "| gru | scan | 2 |  |" in text
    assert text.count("**B 4, T 6, D 5, H 8**") == 1


def test_the_table_of_costs_has_a_line_per_contender():
    values = {key: [float(k), float(k + 1)] for k, key in enumerate(costs.COLUMNS)}
    rows = [{**row("torch", []), **values}]
    text = costs.markdown(result(rows, done=[CASE.to_json()]))
    assert f"**Forward + backward: {CASE.label}**" in text
    assert "| torch | 0.5 (0-1) | 1.5 (1-2) |" in text
