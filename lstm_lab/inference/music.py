"""A model of polyphonic music composes: frames of notes, and MIDI files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.load import Trained
from lstm_lab.models.build import build_model
from lstm_lab.tasks import JSB
from lstm_lab.train.state import zero_states
from lstm_lab.utils.errors import UserError

LOWEST = 21  # MIDI number of the first of 88 notes
TICKS = 480  # of a quarter note
QUARTERS_A_MINUTE = 80


def compose(trained: Trained, frames: int, temperature: float = 1.0, seed: int = 0) -> np.ndarray:
    """Draws frames of notes, each from what the model expects after those before.

    Args:
      trained: a run of a music task.
      frames: how many, a quarter note each.
      temperature: divides the logits; 0 takes every note that is likelier than not.
      seed: of the draws.

    Returns:
      Notes that sound [frames,88], 0 or 1.

    Raises:
      UserError: for a run of another task.
    """
    if not isinstance(trained.spec.task, JSB):
        raise UserError(f"--format: midi needs a run of jsb, this is {trained.spec.task.name}")
    states = zero_states(trained.spec, trained.params, 1)
    draw = _composer(trained.spec, frames, temperature)
    return np.asarray(draw(trained.params, states, jax.random.key(seed)))


@lru_cache(maxsize=4)
def _composer(spec: RunSpec, frames: int, temperature: float) -> Any:
    model = build_model(spec)

    def draw(params: Any, states: Any, key: jax.Array) -> jax.Array:
        def one(carry: Any, place: jax.Array) -> Any:
            notes_D, states = carry
            is_start = place == 0
            logits, states = model.apply(
                {"params": params},
                notes_D[None, None],
                None,
                None,
                states,
                is_start,
                method="logits_and_states",
            )
            logits_D = logits[0, 0]
            if temperature == 0.0:
                notes_D = (logits_D > 0).astype(jnp.float32)
            else:
                p_D = jax.nn.sigmoid(logits_D / temperature)
                drawn_D = jax.random.bernoulli(jax.random.fold_in(key, place), p_D)
                notes_D = drawn_D.astype(jnp.float32)
            return (notes_D, states), notes_D

        silence_D = jnp.zeros(spec.task.target.size)
        _, notes_TD = lax.scan(one, (silence_D, states), jnp.arange(frames))
        return notes_TD

    return jax.jit(draw)


def write_midi(notes_TD: np.ndarray, path: Path) -> None:
    """Writes frames of notes as a MIDI file; a note that goes on is held.

    Args:
      notes_TD: [T,88], 0 or 1; a frame is a quarter note.
      path: the file.

    Raises:
      UserError: where mido is not installed.
    """
    try:
        import mido
    except ImportError:
        raise UserError("--format: midi needs mido: pip install 'lstm-lab[music]'") from None
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(QUARTERS_A_MINUTE)))
    silent = np.zeros((1, notes_TD.shape[1]), int)
    steps_TD = np.diff(notes_TD.astype(int), axis=0, prepend=silent, append=silent)
    waited = 0
    for changes_D in steps_TD:
        # Ends before beginnings.
        for number in sorted(np.flatnonzero(changes_D), key=lambda n: (changes_D[n], n)):
            kind = "note_on" if changes_D[number] > 0 else "note_off"
            note = int(number) + LOWEST
            track.append(mido.Message(kind, note=note, velocity=64, time=waited))
            waited = 0
        waited += TICKS
    file = mido.MidiFile(ticks_per_beat=TICKS)
    file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
