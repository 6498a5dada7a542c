"""The pages of the catalogue: one per variant, and their list."""

from __future__ import annotations

import dataclasses
import re

from docs.generate import results
from docs.generate.diagram import draw
from docs.generate.markdown import REPOSITORY, code, escape, page, section, table, toctree
from lstm_lab.cells import CATALOGUE
from lstm_lab.cells.describe import VariantDescription, describe
from lstm_lab.cells.expressions import Equation, Value, Weight, to_latex


def pages() -> dict[str, str]:
    """Returns the page of each variant, and variants/index.md."""
    written = {f"variants/{name}.md": _page(describe(name)) for name in CATALOGUE}
    rows = [
        [f"[{name}]({name}.md)", escape(variant.change), escape(variant.source)]
        for name, variant in CATALOGUE.items()
    ]
    written["variants/index.md"] = page(
        "Variants",
        "Each variant is data: its equations, parameters and pictures below are generated from its "
        "spec. A test computes the equations and compares them with the code that trains.",
        table(["name", "what is different", "paper"], rows),
        toctree(list(CATALOGUE)).replace(":maxdepth: 1", ":hidden:"),
    )
    return written


def _page(variant: VariantDescription) -> str:
    plain = describe("lstm").equations
    is_family = type(variant.spec) is type(describe("lstm").spec)
    picture = draw(variant.name, variant.equations, plain if is_family else variant.equations)
    note = "What `lstm` does not have is in color." if is_family and variant.name != "lstm" else ""
    return page(
        variant.name,
        f"{escape(variant.change[0].upper() + variant.change[1:])}.",
        f"**Paper:** {escape(variant.source)}.",
        f"```sh\nlstm-lab train adding:{variant.name}\n```",
        f"```python\nlstm_lab.cell({variant.name!r}).spec  # {constructor(variant)}\n```",
        section("Equations", _math(variant.equations), _symbols(variant)),
        section(
            "Data flow",
            f"The values that each result reads. A prime marks the step before. {note}".strip(),
            f'<div class="wide">\n{picture}\n</div>',
        ),
        section("Parameters", _arrays(variant), _letters(variant)),
        section("Defaults", _options(variant), _rates(variant)),
        section(
            "Differences from the paper, and choices",
            "\n".join(f"- {escape(text)}" for text in variant.deviations),
        ),
        section("Results here", _scores(variant)),
    )


def _math(equations: tuple[Equation, ...]) -> str:
    rows = [
        f"{to_latex(equation.result)} &= {to_latex(equation.expression)}" for equation in equations
    ]
    body = " \\\\\n".join(rows)
    # MyST numbers an align; align* stays without numbers.
    return f"```{{math}}\n:nowrap:\n\n\\begin{{align*}}\n{body}\n\\end{{align*}}\n```"


def _inline(name: str) -> str:
    """Returns a name of the equations as inline math."""
    letter, _, gate = name.partition("_")
    is_weight = bool(gate) or re.fullmatch("[A-Zb]", letter)
    latex = to_latex(Weight(letter, gate) if is_weight else Value(name))
    return f"{{math}}`{latex}`"


def _symbols(variant: VariantDescription) -> str:
    rows = [
        [", ".join(map(_inline, names.split(", "))), escape(meaning)]
        for names, meaning in variant.symbols.items()
    ]
    rows.append(["{math}`\\odot`", "product of elements"])
    rows.append(["{math}`h_{t-1}`", "hidden state of the step before; 0 at the first step"])
    return table(["symbol", "meaning"], rows)


def _arrays(variant: VariantDescription) -> str:
    rows = [
        [code(a.name), code(a.shape), ", ".join(map(_inline, a.symbols)), escape(a.purpose)]
        for a in variant.arrays
    ]
    return table(["array", "shape", "in the equations", "purpose"], rows)


def _letters(variant: VariantDescription) -> str:
    return ", ".join(f"{key}: {escape(text)}" for key, text in variant.letters.items()) + "."


def _options(variant: VariantDescription) -> str:
    rows = [
        [
            code(option.name),
            code(option.value),
            code(option.in_lstm) if option.in_lstm else "",
            escape(option.text),
        ]
        for option in variant.options
    ]
    return table([f"field of {type(variant.spec).__name__}", "value", "in lstm", "meaning"], rows)


def _rates(variant: VariantDescription) -> str:
    rows = [[code(f"model.{rate}"), f"{value:g}"] for rate, value in variant.rates.items()]
    return table(["rate of regularization", "default, from the paper"], rows)


def constructor(variant: VariantDescription) -> str:
    """Returns the Python expression of a variant's spec, without the defaults of its class."""
    spec = variant.spec
    assert dataclasses.is_dataclass(spec)
    fields = [
        f"{field.name}={getattr(spec, field.name)!r}"
        for field in dataclasses.fields(spec)
        if field.name != "cell" and getattr(spec, field.name) != field.default
    ]
    return f"{type(spec).__name__}({', '.join(fields)})"


def _scores(variant: VariantDescription) -> str:
    scores = results.scores().get(variant.name, ())
    rows = [
        [
            code(score.study),
            escape(score.setting),
            escape(score.metric),
            str(len(score.values)),
            f"{score.mean:.4g}",
            f"{min(score.values):.4g} to {max(score.values):.4g}",
        ]
        for score in scores
    ]
    searches = [
        f"- {code(study)}: {count} trials of a random search; "
        f"[report]({REPOSITORY}/experiments/results/{study}/report.md)"
        for study, count in results.trials().get(variant.name, {}).items()
    ]
    if not rows and not searches:
        return ""
    note = "[Reproductions](../../reproductions.md) has the protocols and all verdicts."
    scored = f"Test scores of archived studies. {note}" if rows else note
    header = ["study", "setting", "metric", "runs", "mean", "range"]
    return "\n\n".join(filter(None, [scored, table(header, rows), "\n".join(searches)]))
