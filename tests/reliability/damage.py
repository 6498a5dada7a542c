"""Damages every file of runs and studies in every way, and uses them as before.

    python -m tests.reliability.damage [--every=N] [--only=WORD]

Runs and studies are finished or interrupted. After each damage, every verb has to end by itself
with one of the documented exit codes, and to print no traceback. Training has to end with the
results of the undamaged command, bit for bit, or to refuse the folder in one line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import re
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from lstm_lab.cli import main as lstm_lab
from lstm_lab.config.load import load_spec
from lstm_lab.studies.load import load_study
from lstm_lab.studies.run import launch
from lstm_lab.training.loop import StopRequest, train_run
from tests.helpers.sweep import run_records
from tests.helpers.training import StopAfter, assert_same_record, run_record

CONFIG = """
TASK = {"name": "language", "train": "TEXT", "unit": "character", "vocabulary": 40}


def get_config():
    return {
        "task": {**TASK, "unroll": 5, "valid_share": 0.1, "test_share": 0.1},
        "model": {"cell": "lstm", "hidden": 4, "embedding": 3},
        "optim": {"name": "sgd", "lr": 0.1},
        "train": {"batch_size": 4, "steps": 12, "eval_every": 3},
        "compute": {"checkpoint_seconds": 0.0},
    }
"""
STUDY = """
from lstm_lab.studies import LogUniform, Search, Study, Tuning


def get_study():
    base = {
        "task": {"name": "adding", "length": 3, "valid_size": 4, "test_size": 4},
        "model": {"cell": "lstm", "hidden": 3},
        "train": {"batch_size": 4, "steps": 8, "eval_every": 2},
        "compute": {"checkpoint_seconds": 0.0},
    }
    search = Search(2, {"optim.lr": LogUniform(1e-3, 1.0)}, generation=1)
    return Study("damaged", base, (), (7,), tuning=Tuning(trials=search))
"""
TEXT = "the quick brown fox jumps over the lazy dog " * 8


def flipped(content: bytes) -> bytes:
    """Changes a bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "a bit changed": flipped,
    "written twice": lambda content: content + content,
    "zeros": lambda content: bytes(len(content)),
    "a list": lambda content: b"[1, 2]",
    "a number": lambda content: b"7",
    "an object": lambda content: b"{}",
    "deep": lambda content: b'{"a":' * 100_000,
    "digits": lambda content: b"9" * 5000,
    "binary": lambda content: bytes(range(256)),
    "a web page": lambda content: b"<html>quota exceeded</html>\n",
}


def missing(path: Path) -> None:
    """Removes a file."""
    path.unlink()


def folder_instead(path: Path) -> None:
    """Puts a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def dead_link(path: Path) -> None:
    """Puts a link to nowhere in the place of a file."""
    path.unlink()
    path.symlink_to("nowhere")


def link_to_itself(path: Path) -> None:
    """Puts a link without an end in the place of a file."""
    path.unlink()
    path.symlink_to(path.name)


def with_content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


DAMAGES = {
    **{"missing": missing, "a folder": folder_instead},
    **{"a dead link": dead_link, "a link to itself": link_to_itself},
    **{name: with_content(change) for name, change in CONTENTS.items()},
}


@dataclass(frozen=True)
class Original:
    """A folder to damage.

    Attributes:
      folder: the folder.
      command: the verb and its flags that made it, without the folder.
      expected: the records of the finished runs, by name.
    """

    folder: Path
    command: tuple[str, ...]
    expected: dict


def records(folder: Path) -> dict:
    """Returns the records of a run or of the runs of a study."""
    return run_records(folder) if (folder / "study.json").exists() else {"": run_record(folder)}


def originals(place: Path, kinds: Collection[str] = ("run", "study")) -> dict[str, Original]:
    """Makes the folders in which files are damaged: of a run, a study, or both."""
    (place / "text.txt").write_text(TEXT)
    (place / "input.txt").write_text("the dog\n")
    config, study = place / "config.py", place / "study.py"
    config.write_text(CONFIG.replace("TEXT", str(place / "text.txt")))
    study.write_text(STUDY)
    for name, stop in (("finished", StopRequest()), ("interrupted", StopAfter(3))):
        if "run" in kinds:
            train_run(load_spec(config), place / f"{name} run", place, stop=stop)
    for name, stop in (("finished", StopRequest()), ("interrupted", StopAfter(6))):
        if "study" in kinds:
            launch(load_study(str(study)), place / f"{name} study", place, stop)
    devices = f"--devices={jax.device_count()}"
    commands = {
        "run": ("train", f"--config={config}", devices),
        "study": ("sweep", f"--study={study}", devices),
    }
    return {
        f"{state} {kind}": Original(
            place / f"{state} {kind}", command, records(place / f"finished {kind}")
        )
        for kind, command in commands.items()
        if kind in kinds
        for state in ("finished", "interrupted")
    }


def files_of(folder: Path) -> list[Path]:
    """Returns the files to damage, relative; one checkpoint stands for those of the same kind."""
    kinds: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = path.relative_to(folder)
        # Runs, cohorts, steps and parts of checkpoints have numbers as names.
        kind = re.sub(r"(?<=/)([0-9a-f]{12,}|\d+)(?=/|$)", "N", f"/{relative}")
        kinds.setdefault(kind, relative)
    return sorted(kinds.values())


def cases(kinds: dict[str, Original]) -> Iterator[tuple[str, Path, str]]:
    """Yields the kind of folder, the file, and the damage."""
    for name, original in kinds.items():
        for path in files_of(original.folder):
            for damage in DAMAGES:
                yield name, path, damage


def call(*arguments: str) -> tuple[int, str]:
    """Runs a verb; returns its exit code, or -1 after a traceback, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = lstm_lab(list(arguments))
        except BaseException:
            traceback.print_exc()
            code = -1
    return code, printed.getvalue()


def try_case(original: Original, relative: Path, damage: str, place: Path, verbs=None) -> list[str]:
    """Damages one file, and uses the folder; returns what is wrong.

    Args:
      original: the undamaged folder.
      relative: the file in it.
      damage: a name of `DAMAGES`.
      place: an empty folder.
      verbs: the verbs to call besides training; None calls all.
    """
    folder = place / "copy"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(original.folder, folder, symlinks=True)
    DAMAGES[damage](folder / relative)
    where, wrong = f"--workdir={folder}", []
    readers = {
        "status": ("status", where),
        "list": ("list", "runs", f"--folder={place}"),
        "report": ("report", where),
        "predict": ("predict", where, f"--input={original.folder.parent / 'input.txt'}"),
        "pack": ("pack", where, f"--out={place / 'packed.jsonl.gz'}"),
    }
    for verb in readers if verbs is None else verbs:
        code, printed = call(*readers[verb])
        if code not in (0, 1, 2) or "Traceback" in printed:
            wrong.append(f"{verb}: exit code {code}: {printed[-600:]}")
    code, printed = call(*original.command, where)
    if "Traceback" in printed or code not in (0, 1, 2):
        return [*wrong, f"training: exit code {code}: {printed[-900:]}"]
    if code:
        lines = [line for line in printed.splitlines() if line.startswith("lstm-lab: ")]
        return wrong if len(lines) == 1 else [*wrong, f"training: {code}, no one line: {printed}"]
    # The curves of a finished run are not trained again.
    finished = (original.folder / relative).with_name("result.json").exists()
    return wrong + compared(
        folder, original.expected, printed, relative.name == "metrics.jsonl" and finished
    )


def compared(folder: Path, expected: dict, printed: str, lost_curves: bool) -> list[str]:
    """Returns how the results differ from those of the undamaged command."""
    try:
        found = records(folder)
        if found.keys() != expected.keys():
            return [f"runs {sorted(found)} instead of {sorted(expected)}"]
        for name, record in expected.items():
            result, rows, weights = found[name]
            assert_same_record((result, record[1] if lost_curves else rows, weights), record)
    except Exception as error:
        # The weights of a finished run stay as they are; a line names them and the repair.
        if "weights" in printed:
            return []
        return [f"other results: {type(error).__name__}: {error}"[:600]]
    return []


def main() -> int:
    """Tries all cases; prints the outcome of each, and how many are wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    flags = parser.parse_args()
    tried: Counter[str] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        kinds = originals(place)
        chosen = [case for case in cases(kinds) if flags.only in " ".join(map(str, case))]
        # In random order, so that a part of the cases has some of every kind.
        random.Random(0).shuffle(chosen)
        for name, relative, damage in chosen[:: flags.every]:
            scratch = place / "scratch"
            scratch.mkdir(exist_ok=True)
            wrong = try_case(kinds[name], relative, damage, scratch)
            tried[name] += 1
            failed += bool(wrong)
            for line in wrong or ["as promised"]:
                print(f"{name}, {relative}, {damage}: {line}", flush=True)
    print(dict(tried), f"{sum(tried.values())} cases, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
