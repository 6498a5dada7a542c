"""The limits of a model: sentences for its card, computed from the record of its run.

In: `CardFacts`. Out: sentences, the most important ones first. Each sentence depends on the record;
what is true for every model is left out.
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
    """Returns which trivial baselines the model does not beat, and which data were tested."""
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
        f"The model was tested only on the test split of {facts.data.name}. Its performance on "
        "other data is unknown."
    )
    return sentences


def _is_better(direction: Direction, value: float, other: float) -> bool:
    """Returns whether a score is better than another one; NaN counts as better, as not behind."""
    # As the card shows them: scores that look equal in its table are equal here.
    value, other = float(f"{value:.4g}"), float(f"{other:.4g}")
    return not (value <= other if direction == "max" else value >= other)


def _of_seeds(facts: CardFacts) -> list[str]:
    """Returns how much is known about other seeds."""
    group = facts.group
    if group is None or len(group.seeds) < 2:
        return ["One seed was trained with these settings, so the spread over seeds is unknown."]
    sentences = []
    if group.best:
        sentences.append(
            f"This run has the best validation {facts.record.metric} of {len(group.seeds)} seeds. "
            "The mean over the seeds is a better estimate."
        )
    failed = group.planned - len(group.seeds)
    if failed:
        sentences.append(
            f"{failed} of {group.planned} seeds did not complete; the mean is over the others."
        )
    return sentences


def _of_training(facts: CardFacts) -> list[str]:
    """Returns how training ended, and which settings the validation data chose."""
    record, group = facts.record, facts.group
    sentences = []
    if record.status != "completed":
        sentences.append(
            f"The status of the run is {record.status}: "
            f"{record.reason or 'training stopped early'}. The scores are those of the best "
            "checkpoint before that."
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
    """Returns that validation data chose the settings, so that validation scores look too good."""
    names, trials = ", ".join(group.tuned), group.trials
    if group.stage == "tuning":
        return (
            f"This is one of {trials} tuning runs, which differ in {names}. If its validation "
            f"{metric} was the reason to choose it, this score is too optimistic."
        )
    return (
        f"The settings {names} were chosen by the validation {metric} of {trials} tuning runs, so "
        "validation scores are too optimistic."
    )


def _of_inputs(facts: CardFacts) -> list[str]:
    """Returns which inputs the model cannot read, or reads only in part."""
    settings = facts.record.settings
    sentences = []
    if settings.get("model.bidirectional") and facts.data.task != "translation":
        sentences.append(
            "The model reads a sequence in both directions. It needs the whole sequence and cannot "
            "answer step by step."
        )
    longest = settings.get("task.max_length")
    if longest is not None and facts.data.task == "text":
        part = settings.get("task.keep")
        sentences.append(f"The model reads only the {part} {longest} symbols of a longer text.")
    # What the task's reader noted, such as the share of unknown words.
    sentences += [f"{str(note).rstrip('.')}." for note in facts.data.source.get("notes", [])]
    return sentences
