"""Spoken digits: log-mel frames of the Free Spoken Digit Dataset."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Examples, Split, Task, Vectors
from lstm_lab.tasks.readers.download import locate
from lstm_lab.utils.errors import UserError

RATE = 8000
_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True)
class SpokenDigits(Task):
    """Which digit is spoken: 3,000 recordings of six speakers, at 8 kHz.

    Takes 0 to 4 of each speaker and digit are the test split, as the data set's authors say; of the
    rest, takes 5 to 9 validate.

    Attributes:
      mels: bands of a frame.
      frame_ms, hop_ms: length of a frame, and from one to the next.
    """

    mels: int = 40
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
        """The bands of a frame, in deviations of the training part."""
        return Vectors(self.mels)

    def load(self, data_dir: Path) -> Dataset:
        """Reads the recordings.

        Raises:
          UserError: for a file that is missing, damaged, or without recordings of a split.
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
    """Reads digit, take and samples of each recording in a tar archive, in the order of names.

    Raises:
      UserError: for a file that is no archive, or has a recording at another rate.
    """
    from scipy.io import wavfile

    recordings = []
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda member: member.name):
                name, file = _NAME.fullmatch(member.name), None
                if name and member.isfile():
                    file = archive.extractfile(member)
                if name is None or file is None:
                    continue
                rate, wave = wavfile.read(io.BytesIO(file.read()))
                if rate != RATE:
                    raise UserError(f"data: {path} has {member.name} at {rate} Hz, expected {RATE}")
                recordings.append((int(name[1]), int(name[3]), wave.astype(np.float32) / 2**15))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UserError(f"data: {path} is no archive of recordings ({error})") from None
    return recordings


def log_mel(wave: np.ndarray, mels: int, frame_ms: int, hop_ms: int) -> np.ndarray:
    """Returns the logarithms of mel bands' energies [T,mels].

    mel(f) = 2595 log10(1 + f / 700); triangles from 0 to half the rate over the power spectrum of
    Hann-windowed frames.

    Source: Davis and Mermelstein 1980; the mel scale of O'Shaughnessy 1987.
    """
    size, hop = RATE * frame_ms // 1000, RATE * hop_ms // 1000
    wave = np.pad(wave, (0, max(size - len(wave), 0)))
    frames_TN = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    n = 1 << (size - 1).bit_length()
    power_TF = np.abs(np.fft.rfft(frames_TN * np.hanning(size), n)) ** 2
    return np.log(power_TF @ mel_bands(mels, n).T + 1e-8).astype(np.float32)


def mel_bands(mels: int, n: int) -> np.ndarray:
    """Returns the triangular bands [mels, n / 2 + 1] over a spectrum of n samples."""
    top = 2595.0 * np.log10(1.0 + RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, mels + 2) / 2595.0) - 1.0)
    f = np.fft.rfftfreq(n, 1.0 / RATE)
    low, middle, high = (edges[k : mels + k, None] for k in range(3))
    return np.maximum(0.0, np.minimum((f - low) / (middle - low), (high - f) / (high - middle)))
