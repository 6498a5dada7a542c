"""Polyphonic music as piano rolls: the JSB chorales, and three collections in the same format.

In: a .mat file with three lists of pieces. Out: the pieces, where the target of each frame is the
next frame. `lstm_lab.inference.music` generates new pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Bernoulli, Dataset, Direction, Task, Vectors
from lstm_lab.tasks.examples import Sequences, Stored
from lstm_lab.tasks.readers.download import locate
from lstm_lab.utils.errors import UserError

# The files by collection; readers/sources.py has their addresses.
FILES = {
    "jsb": "jsb/JSB_Chorales.mat",
    "nottingham": "nottingham/Nottingham.mat",
    "musedata": "musedata/MuseData.mat",
    "piano_midi": "piano_midi/Piano_midi.mat",
}
NOTES = 88  # the keys of a piano


@dataclass(frozen=True)
class JSB(Task):
    """Which of 88 notes sound in the next frame of a chorale by J. S. Bach, or of another piece.

    The negative log-likelihood of a frame is the sum over its 88 notes, as in the literature. There
    are 229, 76 and 77 chorales in train, valid and test. `nll` is the mean over all frames of a
    split. `piece_nll`, of the test split alone, is the mean over its pieces of their own means, so
    that short pieces weigh as much as long ones.

    Attributes:
      collection: the collection of pieces.
      first_frame: whether to predict the first frame too, from silence, as Greff et al. 2017 do;
        otherwise it is only read. Scores of the two settings are not comparable.

    Example:
      JSB().inputs.features, JSB().target  # 88, Bernoulli(size=88, every_step=True)

    Source: Boulanger-Lewandowski et al. 2012, Modeling temporal dependencies in high-dimensional
    sequences.
    """

    collection: Literal["jsb", "nottingham", "musedata", "piano_midi"] = "jsb"
    first_frame: bool = True

    name: ClassVar[str] = "jsb"
    inputs: ClassVar[Vectors] = Vectors(NOTES)
    target: ClassVar[Bernoulli] = Bernoulli(NOTES, every_step=True)
    metric: ClassVar[str] = "nll"
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {"piece_nll": "min"}

    def load(self, data_dir: Path) -> Dataset:
        """Reads the pieces; the splits are those of the file.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if the file is missing, damaged, or of another format.
        """
        path = locate(FILES[self.collection], data_dir)
        return Dataset({k: self._sequences(rolls, path) for k, rolls in read_rolls(path).items()})

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the mean over pieces of the negative log-likelihood of a frame, in nats.

        Args:
          outputs: logits [N,T,88].
          test, preprocessing: as in `Task.final_metrics`.
        """
        examples = test.take(np.arange(test.rows))
        # -log p of a note: softplus(-logit) if it sounds, softplus(logit) if it does not.
        nll_NT = np.logaddexp(0.0, (1.0 - 2.0 * examples.y) * outputs).sum(-1)
        lengths = examples.lengths
        assert lengths is not None
        real_NT = np.arange(nll_NT.shape[1])[None] < lengths[:, None]
        return {"piece_nll": float(((nll_NT * real_NT).sum(1) / lengths).mean())}

    def _sequences(self, rolls: list[np.ndarray], path: Path) -> Sequences:
        """Puts the pieces one after another; the input of each frame is the frame before it."""
        if not self.first_frame:
            # A piece of one frame would have nothing to predict.
            rolls = [roll for roll in rolls if len(roll) > 1]
            if not rolls:
                raise UserError(f"jsb: {path} has a split without a piece of two frames or more")
        # Inputs are all frames of a piece but the last, targets all but the first. A silent frame
        # in front makes the first frame a target.
        context = [np.zeros((1, NOTES), np.uint8)] if self.first_frame else []
        return Sequences.of([np.concatenate([*context, roll]) for roll in rolls])


def read_rolls(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads the piano rolls of each split from a .mat file.

    Args:
      path: the file.

    Returns:
      For each split its pieces [T,88], uint8, 1 where a note sounds.

    Raises:
      UserError: if the file is damaged or of another format.
    """
    import scipy.io  # imported here because it is slow, and few tasks need it

    rolls = {}
    for split in ("train", "valid", "test"):
        name = f"{split}data"
        try:
            # One split at a time: the file may hold eight bytes per note.
            content = scipy.io.loadmat(path, variable_names=[name])
        except Exception as error:  # the type of error depends on which bytes are damaged
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"jsb: {path} is not a readable .mat file ({type(error).__name__}: {reason}); "
                "remove it, and get it again"
            ) from None
        if name not in content:
            raise UserError(f"jsb: {path} has no variable {name!r}")
        # A MATLAB cell array arrives as an object array [1,N] or [N,1].
        pieces = [np.asarray(piece) for piece in content[name].ravel()]
        if not pieces:
            raise UserError(f"jsb: {path} has an empty split {name!r}, expected one piece or more")
        for k, piece in enumerate(pieces):
            if piece.ndim != 2 or piece.shape[0] < 1 or piece.shape[1] != NOTES:
                raise UserError(
                    f"jsb: {path} has {name}[{k}] of shape {piece.shape}, expected [T,{NOTES}]"
                )
            if piece.dtype.kind not in "biuf" or not np.isin(piece, (0, 1)).all():
                raise UserError(f"jsb: {path} has values in {name}[{k}] other than 0 and 1")
        rolls[split] = [piece.astype(np.uint8) for piece in pieces]
    return rolls
