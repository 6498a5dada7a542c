"""Spoken digits: log-mel frames of the Free Spoken Digit Dataset.

In: one tar archive of WAV files. Out: padded sequences of frames with a class each. `log_mel` turns
samples into frames.
"""

from __future__ import annotations

import io
import re
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Vectors
from lstm_lab.tasks.examples import Examples, Split
from lstm_lab.tasks.readers.download import locate
from lstm_lab.utils.errors import UserError

RATE = 8000  # samples per second
# DIGIT_SPEAKER_TAKE.wav, in any folder of the archive.
_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True)
class SpokenDigits(Task):
    """Which digit is spoken: 3,000 recordings of six speakers, at 8 kHz.

    Takes 0 to 4 of each speaker and digit are the test split, as the authors of the data set
    define it. Takes 5 to 9 validate. All speakers occur in all splits, so the test does not measure
    the accuracy for new voices.

    Attributes:
      mels: number of mel bands of a frame.
      frame_ms: length of a frame in milliseconds.
      hop_ms: distance between the starts of two frames in milliseconds.

    Example:
      SpokenDigits(mels=20, hop_ms=20).inputs  # Vectors(features=20)

    Source: https://github.com/Jakobovski/free-spoken-digit-dataset.
    """

    mels: int = 40
    # Frames overlap: a Hann window almost removes the samples at its ends, and the next frame has
    # those samples in its middle.
    frame_ms: int = 25
    hop_ms: int = 10

    name: ClassVar[str] = "spoken_digits"
    target: ClassVar[Categorical] = Categorical(10)
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        for name in ("mels", "frame_ms", "hop_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")

    @property
    def inputs(self) -> Vectors:
        """The log energies of the bands, standardized by the training split."""
        return Vectors(self.mels)

    def load(self, data_dir: Path) -> Dataset:
        """Reads the recordings and computes their frames.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if the file is missing or damaged, or has no recordings for a split.
        """
        path = locate("fsdd/fsdd.tar.gz", data_dir)
        recordings_of: dict[str, list[tuple[np.ndarray, int]]]
        recordings_of = {"train": [], "valid": [], "test": []}
        for digit, take, wave in read_recordings(path):
            split = "test" if take < 5 else "valid" if take < 10 else "train"
            frames = log_mel(wave, self.mels, self.frame_ms, self.hop_ms)
            recordings_of[split].append((frames, digit))
        for split, recordings in recordings_of.items():
            if not recordings:
                raise UserError(f"data: {path} has no recordings for {split}")
        # From the real frames of the training split: other splits must stay unseen, and padding
        # would move the mean.
        train_frames = np.concatenate([frames for frames, _ in recordings_of["train"]])
        mean_D, std_D = train_frames.mean(0), train_frames.std(0) + 1e-6
        splits: dict[str, Split] = {}
        for split, recordings in recordings_of.items():
            lengths = np.array([len(frames) for frames, _ in recordings], np.int32)
            x_NTD = np.zeros((len(recordings), lengths.max(), self.mels), np.float32)
            for row, (frames, _) in enumerate(recordings):
                x_NTD[row, : len(frames)] = (frames - mean_D) / std_D
            y = np.array([digit for _, digit in recordings], np.int32)
            splits[split] = Examples(x_NTD, y, lengths)
        return Dataset(splits, {"mean": mean_D.tolist(), "std": std_D.tolist()})


def read_recordings(path: Path) -> list[tuple[int, int, np.ndarray]]:
    """Reads the recordings of a tar archive.

    Args:
      path: the archive; other files in it are ignored.

    Returns:
      Digit, take and samples of each recording, in the order of the file names. Samples are
      float32, from -1 to 1.

    Raises:
      UserError: if the file is not an archive, or a recording has another sampling rate.
    """
    from scipy.io import wavfile

    recordings = []
    try:
        with tarfile.open(path) as archive:
            # The order of an archive depends on who packed it; the order of the names does not.
            for member in sorted(archive.getmembers(), key=lambda member: member.name):
                name, file = _NAME.fullmatch(member.name), None
                if name and member.isfile():
                    file = archive.extractfile(member)
                if name is None or file is None:
                    continue
                with warnings.catch_warnings():
                    # Chunks that hold no samples, such as the name of a program, are skipped.
                    warnings.simplefilter("ignore", wavfile.WavFileWarning)
                    rate, wave = wavfile.read(io.BytesIO(file.read()))
                if rate != RATE:
                    raise UserError(f"data: {path} has {member.name} at {rate} Hz, expected {RATE}")
                # The recordings have 16-bit samples.
                recordings.append((int(name[1]), int(name[3]), wave.astype(np.float32) / 2**15))
    except UserError:
        raise
    except Exception as error:  # the type of error depends on which bytes are damaged
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"data: {path} is no archive of recordings ({type(error).__name__}: {reason})"
        ) from None
    return recordings


def log_mel(wave: np.ndarray, mels: int, frame_ms: int, hop_ms: int) -> np.ndarray:
    """Computes the log energies of mel bands.

    The bands are triangles from 0 to half the sampling rate, of equal width on the mel scale
    mel(f) = 2595 log10(1 + f / 700). They weight the power spectrum of Hann-windowed frames.

    Args:
      wave: samples at `RATE`, float32.
      mels: number of bands.
      frame_ms: length of a frame in milliseconds.
      hop_ms: distance between the starts of two frames in milliseconds.

    Returns:
      Log energies [T,mels], float32. Samples after the last whole frame are not used.

    Source: Davis and Mermelstein 1980; the mel scale of O'Shaughnessy 1987.
    """
    size, hop = RATE * frame_ms // 1000, RATE * hop_ms // 1000
    # A recording shorter than a frame still gives one: a sequence needs at least one step.
    wave = np.pad(wave, (0, max(size - len(wave), 0)))
    frames_TN = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    # The next power of two, for which the FFT is fast.
    n = 1 << (size - 1).bit_length()
    power_TF = np.abs(np.fft.rfft(frames_TN * np.hanning(size), n)) ** 2
    # Digital silence has an energy of 0; 1e-8 keeps its logarithm finite.
    return np.log(power_TF @ mel_bands(mels, n).T + 1e-8).astype(np.float32)


def mel_bands(mels: int, n: int) -> np.ndarray:
    """Returns the triangular mel bands as weights of spectral bins.

    Args:
      mels: number of bands.
      n: number of samples of the Fourier transform, even.

    Returns:
      Weights [mels, n / 2 + 1], at most 1.
    """
    top = 2595.0 * np.log10(1.0 + RATE / 2 / 700.0)
    # Each band begins at the middle of the one before: mels + 2 edges, with those at both ends.
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, mels + 2) / 2595.0) - 1.0)
    f = np.fft.rfftfreq(n, 1.0 / RATE)
    low, middle, high = (edges[k : mels + k, None] for k in range(3))
    return np.maximum(0.0, np.minimum((f - low) / (middle - low), (high - f) / (high - middle)))
