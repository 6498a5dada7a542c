"""The page that says how each target of an export expresses each cell of the catalogue."""

from __future__ import annotations

from docs.generate.markdown import code, escape, page, section, table
from lstm_lab.cells import CATALOGUE
from lstm_lab.interop.targets import TARGETS, forms

REFUSED = "refused: "
FORMS = {
    "layer": "the framework's own layer or operator",
    "equations": "the equations of the cell, written in the language of the target",
    "program": "the compiled program, as JAX traced it",
    "weights": "arrays without a program",
    "refused": "not possible, for the reason below",
}


def pages() -> dict[str, str]:
    """Returns reference/exports.md."""
    found = {name: forms(variant.spec) for name, variant in CATALOGUE.items()}
    rows = [
        [
            f"[{name}](../variants/{name}.md)",
            *(entry.partition(":")[0] for entry in entries.values()),
        ]
        for name, entries in found.items()
    ]
    reasons = [
        [name, code(target), escape(entry.removeprefix(REFUSED))]
        for name, entries in found.items()
        for target, entry in entries.items()
        if entry.startswith(REFUSED)
    ]
    text = page(
        "Cells and targets of an export",
        "How `lstm-lab export --to=TARGET` expresses each cell of the catalogue. "
        "[Models in other frameworks](../../how_to/export.md) shows how to use it.",
        table(["cell", *map(code, TARGETS)], rows),
        table(["entry", "meaning"], [[name, meaning] for name, meaning in FORMS.items()]),
        "A cell of your own has its equations in Python alone. The targets `safetensors` and "
        "`stablehlo` take it; the others refuse it by name.",
        section("Reasons", table(["cell", "target", "reason"], reasons)),
    )
    return {"reference/exports.md": text}
