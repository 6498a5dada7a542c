"""What a card has to say against its model: sentences about this run, computed from its record.

In: `CardFacts`. Out: sentences, the most important ones first. Each one has a condition or a name
from the record; what is true of every model has no place here.
"""

from __future__ import annotations

import math

from lstm_lab.cards.facts import CardFacts, SeedGroup
from lstm_lab.tasks.base import Direction


def limits(facts: CardFacts) -> list[str]:
    """Returns the limits of a model, one sentence or two each.

    Args:
      facts: the facts of the card.

    Example:
      limits(read_facts(Path("runs/adding")))[0]
    """
    return [*_of_scores(facts), *_of_seeds(facts), *_of_training(facts), *_of_inputs(facts)]


def _of_scores(facts: CardFacts) -> list[str]:
    """Says which trivial baselines the model does not beat, and what was tested at all."""
    record, directions = facts.record, facts.directions
    behind = [
        f"{metric} {value:.4g} ({baseline.replace('_', ' ')}: {scores[metric]:.4g})"
        for metric, value in record.test.items()
        for baseline, scores in record.trivial.items()
        if metric in scores
        and metric in directions
        and not _is_better(directions[metric], value, scores[metric])
    ]
    sentences = []
    if behind:
        sentences.append(
            "On the test split, the model is not better than a trivial baseline: "
            f"{', '.join(behind)}."
        )
    missing = [name for name, value in record.test.items() if math.isnan(value)]
    if missing:
        sentences.append(f"The test split gives no value of {', '.join(missing)}.")
    sentences.append(
        f"The record has scores on the test split of {facts.data.name} alone; how good the model "
        "is on other data is not known."
    )
    return sentences


def _is_better(direction: Direction, value: float, other: float) -> bool:
    """Returns whether a score is better than another one; NaN counts as better, as not behind."""
    # As the card shows them: scores that look equal in its table are equal here.
    value, other = float(f"{value:.4g}"), float(f"{other:.4g}")
    return not (value <= other if direction == "max" else value >= other)


def _of_seeds(facts: CardFacts) -> list[str]:
    """Says how much is known about other seeds."""
    group = facts.group
    if group is None or len(group.seeds) < 2:
        return ["One seed was trained with these settings, so the spread over seeds is not known."]
    sentences = []
    if group.best:
        sentences.append(
            f"This run has the best validation {facts.record.metric} of {len(group.seeds)} seeds. "
            "The mean over the seeds says better what these settings give."
        )
    failed = group.planned - len(group.seeds)
    if failed:
        sentences.append(
            f"{failed} of {group.planned} seeds did not complete; the mean is over the others."
        )
    return sentences


def _of_training(facts: CardFacts) -> list[str]:
    """Says how training ended, and what was chosen on which data."""
    record, group = facts.record, facts.group
    sentences = []
    if record.status != "completed":
        sentences.append(
            f"The run is {record.status}: {record.reason or 'training stopped early'}. The scores "
            "are those of its best checkpoint before."
        )
    elif record.reason:
        sentences.append(f"The record is damaged: {record.reason}.")
    # A single evaluation is always the last one.
    elif record.best_step == record.steps and len(record.history) > 1:
        sentences.append(
            f"The last evaluation has the best validation {record.metric}: longer training may "
            "improve it."
        )
    if facts.head.get("rollbacks"):
        times = len(facts.head["rollbacks"])
        sentences.append(
            f"Training went back to an earlier evaluation {times} time{'s' if times > 1 else ''}, "
            "because a loss or a gradient was not finite."
        )
    if group is not None and group.tuned:
        sentences.append(_of_tuning(group, str(record.metric)))
    return sentences


def _of_tuning(group: SeedGroup, metric: str) -> str:
    """Says that validation data chose settings, whose validation scores then look too good."""
    names, trials = ", ".join(group.tuned), group.trials
    if group.stage == "tuning":
        return (
            f"This is one of {trials} tuning runs, which differ in {names}. If its validation "
            f"{metric} chose it, this score looks better than it is."
        )
    return (
        f"The validation {metric} of {trials} tuning runs chose {names}, so that validation scores "
        "look better than they are."
    )


def _of_inputs(facts: CardFacts) -> list[str]:
    """Says which inputs the model cannot read as they are."""
    settings = facts.record.settings
    sentences = []
    if settings.get("model.bidirectional") and facts.data.task != "translation":
        sentences.append(
            "The model reads both directions, so it needs the end of a sequence and cannot answer "
            "step by step."
        )
    longest = settings.get("task.max_length")
    if longest is not None and facts.data.task == "text":
        part = settings.get("task.keep")
        sentences.append(f"Of a longer text, the {part} {longest} symbols are read.")
    # What the task's reader noted, such as the share of unknown words.
    sentences += [f"{str(note).rstrip('.')}." for note in facts.data.source.get("notes", [])]
    return sentences
