"""Results of a bench without measurements: rows of chosen times."""

MACHINE = {"platform": "gpu", "device": "some GPU", "cpu": "a CPU", "cores": 2}
MACHINE |= {"python": "3.11", "versions": {"jax": "1"}, "date": "today"}


def bench_row(name, ms, case, *, memory=False, **facts):
    """Returns a row of a contender at a case."""
    shown = {"case": case.to_json(), "label": case.label, "contender": name}
    return {**shown, "memory_settings": memory, "ms": ms, **facts}


def bench_result(rows, suite="layer", **values):
    """Returns a result with these rows."""
    base = {"suite": suite, "machine": MACHINE, "left_out": [], "errors": [], "done": []}
    return {**base, "command": f"lstm-lab bench --suite={suite}", "rows": rows, **values}
