"""Composes polyphonic music with a model of the task `jsb`, and writes MIDI files.

A frame is a quarter note: 88 independent bits, one per key of a piano.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.generate import Sampling
from lstm_lab.inference.load import Trained
from lstm_lab.models.build import build_model, jit_with_precision
from lstm_lab.models.recurrent import States
from lstm_lab.tasks import JSB
from lstm_lab.training.state import zero_states
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import PyTree

LOWEST_NOTE = 21  # MIDI number of the first of 88 notes
TICKS_PER_QUARTER = 480
QUARTERS_PER_MINUTE = 80

_AS_TRAINED = Sampling()


def compose(trained: Trained, frames: int, sampling: Sampling = _AS_TRAINED) -> np.ndarray:
    """Draws frames of notes one after another, each given all frames before it.

    Args:
      trained: a run of the task `jsb`.
      frames: number of frames, each a quarter note long.
      sampling: temperature and seed. A temperature of 0 plays every note with a probability above
        0.5.

    Returns:
      Notes [frames,88], 1 where a note sounds and 0 elsewhere.

    Raises:
      UserError: for a run of another task, or for `top_k` or `top_p`.

    Example:
      compose(load_run(Path("runs/jsb")), 64, Sampling(temperature=0.8)).shape  # (64, 88)
    """
    if not isinstance(trained.spec.task, JSB):
        name = trained.spec.task.name
        raise UserError(f"--format=midi: got a run of {name}, expected a run of jsb")
    if sampling.top_k is not None or sampling.top_p < 1.0:
        # The notes of a frame are independent bits, not choices from one list.
        raise UserError("--top-k, --top-p: they choose from symbols of a text; music has none")
    states = zero_states(trained.spec, trained.params, 1)
    draw = _compiled_draw(trained.spec, frames, sampling)
    return np.asarray(draw(trained.params, states, jax.random.key(sampling.seed)))


@lru_cache(maxsize=4)
def _compiled_draw(spec: RunSpec, frames: int, sampling: Sampling) -> Callable[..., jax.Array]:
    """Returns (params, states, key) -> notes [frames,88]."""
    model = build_model(spec)

    def draw(params: PyTree, states: States, key: jax.Array) -> jax.Array:
        def draw_frame(
            carry: tuple[jax.Array, PyTree], position: jax.Array
        ) -> tuple[tuple[jax.Array, PyTree], jax.Array]:
            notes_D, states = carry
            is_start = position == 0
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
            if sampling.greedy:
                notes_D = (logits_D > 0).astype(jnp.float32)
            else:
                p_D = jax.nn.sigmoid(logits_D / sampling.temperature)
                bits_D = jax.random.bernoulli(jax.random.fold_in(key, position), p_D)
                notes_D = bits_D.astype(jnp.float32)
            return (notes_D, states), notes_D

        silence_D = jnp.zeros(spec.task.target.size)
        _, notes_TD = lax.scan(draw_frame, (silence_D, states), jnp.arange(frames))
        return notes_TD

    return jit_with_precision(spec, draw)


def write_midi(notes_TD: np.ndarray, path: Path) -> None:
    """Writes frames of notes as a MIDI file; a note in consecutive frames is held, not repeated.

    Args:
      notes_TD: notes [T,88], 0 or 1; a frame is a quarter note.
      path: the file to write.

    Raises:
      UserError: if mido is not installed.
    """
    try:
        import mido
    except ImportError:
        raise UserError("--format=midi needs mido: pip install 'lstm-lab[music]'") from None
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(QUARTERS_PER_MINUTE)))
    # Frames of silence around the piece start the notes of the first frame and end the last ones.
    silence = np.zeros((1, notes_TD.shape[1]), int)
    changes_TD = np.diff(notes_TD.astype(int), axis=0, prepend=silence, append=silence)
    ticks = 0  # since the last message: MIDI times are relative
    for changes_D in changes_TD:
        # Notes end before others start, as is usual in MIDI files.
        for number in sorted(np.flatnonzero(changes_D), key=lambda n: (changes_D[n], n)):
            kind = "note_on" if changes_D[number] > 0 else "note_off"
            note = int(number) + LOWEST_NOTE
            track.append(mido.Message(kind, note=note, velocity=64, time=ticks))
            ticks = 0
        ticks += TICKS_PER_QUARTER
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_QUARTER)
    file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
