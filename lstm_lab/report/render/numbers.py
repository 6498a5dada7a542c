"""All numbers of a comparison as JSON, for programs that read a report.

In: a `Comparison`. Out: the content of report.json, whose names are those of the fields of
`Comparison` and `VariantRow`.
"""

from __future__ import annotations

from lstm_lab.report.comparison import Comparison
from lstm_lab.utils.plain import plain
from lstm_lab.utils.types import JSON

# Long, and in the folders of the runs and in results.csv.
LEFT_OUT = ("curves", "curve", "trials")


def comparison_numbers(c: Comparison) -> dict[str, JSON]:
    """Returns the content of report.json.

    Args:
      c: the comparison.
    """
    numbers: dict[str, JSON] = plain(c, LEFT_OUT)
    numbers["pairwise"] = [{"a": a, "b": b, "p": p} for (a, b), p in c.pairwise.items()]
    return numbers
