"""The front matter of a card: YAML that the Hugging Face Hub reads.

In: `CardFacts`. Out: a mapping, and its text between two lines `---`. The names of the fields
are those of the Hub's specification of model cards (`modelcard.md` in huggingface/hub-docs).
"""

from __future__ import annotations

import math
from functools import partial

import yaml

from lstm_lab.cards.facts import CardFacts
from lstm_lab.utils.types import JSON

# The Hub's names of tasks; "other" is the Hub's name for unknown tasks.
HUB_TASKS = {
    "language": "text-generation",
    "text": "text-classification",
    "tags": "token-classification",
    "translation": "translation",
    "series": "time-series-forecasting",
    "table": "tabular-classification",
    "digits": "image-classification",
    "mnist": "image-classification",
    "spoken_digits": "audio-classification",
}
OTHER = "other"
# The Hub's names of metrics. A metric that the Hub does not know keeps its own name.
HUB_METRICS = {
    **{name: name for name in ("accuracy", "perplexity", "mse", "mae", "smape", "mase")},
    **{"macro_f1": "f1", "span_f1": "seqeval", "bleu": "sacrebleu", "auc": "roc_auc"},
}
UNICODE_LINE_ENDS = "\x85\u2028\u2029"
TAGS = ("lstm_lab", "jax", "flax", "recurrent-neural-network", "lstm")


def front_matter(facts: CardFacts) -> dict[str, JSON]:
    """Returns the metadata of a card.

    It has no license: the author of the model chooses one, and the record of the run has none.

    Args:
      facts: the facts of the card.

    Returns:
      The fields in the order of the card.

    Example:
      front_matter(read_facts(Path("runs/imdb")))["pipeline_tag"]  # "text-classification"
    """
    data, test = facts.data, finite_scores(facts.record.test)
    # A task of the user may have the name of a task of the package.
    task = OTHER if "task.py" in facts.own_code else HUB_TASKS.get(data.task, OTHER)
    # The Hub rejects ids that it does not know.
    datasets = data.hub_ids
    return {
        "library_name": "lstm_lab",
        **({} if task == OTHER else {"pipeline_tag": task}),
        "tags": list(dict.fromkeys((*TAGS, facts.cell, data.task))),
        **({"datasets": datasets} if datasets else {}),
        "metrics": [HUB_METRICS[name] for name in test if name in HUB_METRICS],
        "model-index": [
            {
                "name": model_name(facts),
                "results": [
                    {
                        "task": {"type": task, "name": data.task},
                        "dataset": {
                            "type": datasets[0] if datasets else data.name,
                            "name": data.title,
                            "split": "test",
                        },
                        "metrics": [
                            {
                                "type": HUB_METRICS.get(name, name),
                                "value": value,
                                "name": f"test {name}",
                            }
                            for name, value in test.items()
                        ],
                    }
                ],
            }
        ],
    }


def front_matter_text(facts: CardFacts) -> str:
    """Returns the metadata of a card as YAML between two lines `---`.

    Args:
      facts: the facts of the card.

    Example:
      front_matter_text(facts).splitlines()[:2]  # ["---", "library_name: lstm_lab"]
    """
    # A library writes the YAML, because names of users may contain quotes, colons and line ends.
    write = partial(yaml.safe_dump, front_matter(facts), sort_keys=False, width=100)
    text = write(allow_unicode=True)
    # PyYAML would read these line ends back as other characters, so they are escaped.
    if any(end in text for end in UNICODE_LINE_ENDS):
        text = write(allow_unicode=False)
    return f"---\n{text}---\n"


def model_name(facts: CardFacts) -> str:
    """Returns a name for the model: its data, its cell and the id of its run.

    Args:
      facts: the facts of the card.

    Example:
      model_name(facts)  # "imdb-lstm-1f0c2a9b7d3e"
    """
    words = (facts.data.name, facts.cell, facts.record.id)
    return "-".join("-".join(word.replace(",", " ").split()) for word in words)


def finite_scores(metrics: dict[str, float]) -> dict[str, float]:
    """Returns the metrics that have a value, to six digits.

    Args:
      metrics: values by name.

    Example:
      finite_scores({"nll": 0.12345678, "auc": float("nan")})  # {"nll": 0.123457}
    """
    return {name: float(f"{v:.6g}") for name, v in metrics.items() if math.isfinite(v)}
