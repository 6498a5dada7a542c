"""Fuzzes one reader with libFuzzer, guided by the coverage of the package's code.

    python -m tests.reliability.fuzz_atheris NAME -runs=100000 [FOLDER_OF_INPUTS]

NAME is one of `targets.TARGETS`; the other arguments are those of libFuzzer. It stops at the first
input that raises anything but UserError, and writes that input to a file. Run by hand: it needs the
extra `fuzz`, which has no version for every system.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lstm_lab"], enable_loader_override=False):
    from tests.reliability.targets import TARGETS


def main() -> None:
    """Runs libFuzzer on the reader that the command line names."""
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seeds = folder / "seeds"
        seeds.mkdir()
        (seeds / "example").write_bytes(target.example)

        def read(content: bytes) -> None:
            target(folder, content)

        atheris.Setup([sys.argv[0], "-max_len=4096", *arguments, str(seeds)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
