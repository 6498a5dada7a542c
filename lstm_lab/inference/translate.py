"""Translates sentences with a finished run: text in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from lstm_lab.inference.load import Trained
from lstm_lab.inference.predict import predict_lines
from lstm_lab.utils.errors import UserError


def translate(trained: Trained, sentences: Sequence[str], beam: int = 4) -> list[str]:
    """Translates sentences by beam search.

    Args:
      trained: a run of a translation task.
      sentences: sentences of the source language, none of them empty.
      beam: number of hypotheses per sentence; 1 is greedy search.

    Returns:
      One translation per sentence.

    Raises:
      UserError: for a run of another task, or an empty sentence.

    Example:
      >>> translate(load_run(Path("runs/multi30k")), ["a dog runs ."])
      ['ein hund läuft.']
    """
    task = trained.spec.task
    if task.source_vocabulary is None:
        raise UserError(f"translate: got a run of {task.name}, expected a run of translation")
    for number, sentence in enumerate(sentences, 1):
        if not sentence.strip():
            raise UserError(f"translate: sentence {number} is empty, expected words")
    return [prediction["text"] for prediction in predict_lines(trained, sentences, beam)]
