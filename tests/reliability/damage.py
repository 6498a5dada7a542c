"""Damages every file of runs and studies in every way, and uses them as before.

    python -m tests.reliability.damage [--every=N] [--only=WORD] [--part=K/N] [--from=N]

Runs and studies are finished or interrupted. After each damage, every verb that reads the file has
to end by itself with one of the documented exit codes, and to print no traceback. Training has to
end with the results of the undamaged command, bit for bit, or to refuse the folder in one line that
names the file. It keeps a finished run whose result is whole: then a line has to name each file
that is missing or damaged, and the repair.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from lstm_lab.cli import main as lstm_lab
from lstm_lab.config.load import load_spec
from lstm_lab.results.intact import FIXED, TRAIN_AGAIN
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
    """Changes a bit in the middle, if there is one."""
    middle = len(content) // 2
    return (
        content[:middle] + bytes(byte ^ 4 for byte in content[middle:][:1]) + content[middle + 1 :]
    )


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
    # The second trial has a checkpoint then.
    for name, stop in (("finished", StopRequest()), ("interrupted", StopAfter(8))):
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
        # Runs, cohorts, steps and parts of checkpoints have numbers as names, and events times.
        kind = re.sub(r"(?<=/)([0-9a-f]{12,}|\d+)(?=/|$)|tfevents.*", "N", f"/{relative}")
        kinds.setdefault(kind, relative)
    return sorted(kinds.values())


def cases(kinds: dict[str, Original]) -> Iterator[tuple[str, Path, str]]:
    """Yields the kind of folder, the file, and the damage."""
    for name, original in kinds.items():
        for path in files_of(original.folder):
            content = (original.folder / path).read_bytes()
            for damage in DAMAGES:
                change = CONTENTS.get(damage)
                # A file that was empty stays so.
                if change is None or change(content) != content:
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


def verbs_that_read(relative: Path) -> list[str]:
    """Returns the verbs besides training that read a file; `status` and `list` are always tried."""
    name, weights = relative.name, "best" in relative.parts
    verbs = ["status", "list"]
    if name in ("run.json", "result.json", "metrics.jsonl", "study.json"):
        verbs.append("report")
    if weights or name in ("run.json", "result.json", "preprocessing.json", "study.json"):
        verbs.append("predict")
    if name in ("run.json", "result.json", "study.json"):
        verbs.append("pack")
    return verbs


def try_case(original: Original, relative: Path, damage: str, place: Path, verbs=None) -> list[str]:
    """Damages one file, and uses the folder; returns what is wrong.

    Args:
      original: the undamaged folder.
      relative: the file in it.
      damage: a name of `DAMAGES`.
      place: an empty folder.
      verbs: the verbs to call besides training; None calls those that read the file.
    """
    folder = place / "copy"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(original.folder, folder, symlinks=True)
    DAMAGES[damage](folder / relative)
    if "cohorts" in relative.parts and (folder / relative).is_file():
        # Nobody wants to wait until a lease has expired.
        os.utime(folder / relative, (0, 0))
    where, wrong = f"--workdir={folder}", []
    readers = {
        "status": ("status", where),
        "list": ("list", "runs", f"--folder={place}"),
        "report": ("report", where),
        "predict": ("predict", where, f"--input={original.folder.parent / 'input.txt'}"),
        "pack": ("pack", where, f"--out={place / 'packed.jsonl.gz'}"),
    }
    for verb in verbs_that_read(relative) if verbs is None else verbs:
        code, printed = call(*readers[verb])
        if code not in (0, 1, 2) or "Traceback" in printed:
            wrong.append(f"{verb}: exit code {code}: {printed[-600:]}")
        elif verb == "status" and code == 0:
            wrong += [f"status: {line}" for line in not_named(original.folder, folder, printed)]
        elif verb == "report" and code == 0 and relative.name == "metrics.jsonl":
            wrong += [f"report: {line}" for line in not_named(original.folder, folder, printed)]
    code, printed = call(*original.command, where)
    if "Traceback" in printed or code not in (0, 1, 2):
        return [*wrong, f"training: exit code {code}: {printed[-900:]}"]
    if code:
        lines = [line for line in printed.splitlines() if line.startswith("lstm-lab: ")]
        # Weights are named by the folder of their checkpoint.
        name = "checkpoints/best/" if "best" in relative.parts else relative.name
        named = len(lines) == 1 and name in lines[0]
        return wrong if named else [*wrong, f"training: {code}, no one line: {printed[-900:]}"]
    return wrong + compared(original, folder, printed)


def finished_runs(folder: Path) -> Iterator[Path]:
    """Yields the folders of the finished runs of a run or a study, relative."""
    for path in (folder / "result.json", *folder.glob("runs/*/result.json")):
        if path.is_file():
            yield path.parent.relative_to(folder)


def content_of(path: Path) -> bytes | None:
    """Returns the content of a file, or None if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def not_named(before: Path, folder: Path, printed: str) -> list[str]:
    """Returns the files of finished runs that differ from the originals, and that no line names.

    Args:
      before: the original folder.
      folder: its copy, in which a file was damaged.
      printed: what a verb printed.
    """
    lines = [line for line in printed.splitlines() if TRAIN_AGAIN in line]
    missing = []
    for run in finished_runs(before):
        if content_of(folder / run / "result.json") != content_of(before / run / "result.json"):
            continue  # it was trained again, or will be
        best = list((before / run / "checkpoints" / "best").rglob("*"))
        for path in (*(before / run / name for name in FIXED), *best):
            relative = path.relative_to(before)
            if not path.is_file() or content_of(folder / relative) == content_of(path):
                continue
            named = (f"{folder / relative} ",)
            if path in best:
                place = folder / run
                named = (
                    f"the weights in {place}/checkpoints/best/",
                    f"the weights of {place} are missing",
                )
            if not any(text in line for line in lines for text in named):
                missing.append(f"{relative} is not named: {printed[-600:]}")
    return missing


def compared(original: Original, folder: Path, printed: str) -> list[str]:
    """Returns how the results differ from those of the undamaged command, after training.

    Curves and weights of a run that was not trained again may be damaged, if a line says so.
    """
    wrong = not_named(original.folder, folder, printed)
    try:
        found = records(folder)
    except Exception as error:
        return [*wrong, f"no results: {type(error).__name__}: {error}"[:600]]
    if found.keys() != original.expected.keys():
        return [*wrong, f"runs {sorted(found)} instead of {sorted(original.expected)}"]
    for name, record in original.expected.items():
        run = Path("runs") / name if name else Path()
        kept = content_of(folder / run / "result.json") == content_of(
            original.folder / run / "result.json"
        )
        result, rows, weights = found[name]
        if kept:
            # `not_named` has compared the files.
            rows, weights = record[1:]
        try:
            assert_same_record((result, rows, weights), record)
        except AssertionError as error:
            wrong.append(f"other results of {name}: {error}"[:600])
    return wrong


def keep_programs(place: Path) -> None:
    """Keeps compiled programs in a folder: verbs compile equal programs again."""
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def main() -> int:
    """Tries all cases; prints the outcome of each, and how many are wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--from", dest="begin", type=int, default=0)
    flags = parser.parse_args()
    tried: Counter[str] = Counter()
    failed, begin = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        keep_programs(place / "programs")
        kinds = originals(place)
        chosen = [case for case in cases(kinds) if flags.only in " ".join(map(str, case))]
        # In random order, so that a part of the cases has some of every kind.
        random.Random(0).shuffle(chosen)
        # No power fails here, and waiting for the disk takes most of the time.
        os.fsync = lambda descriptor: None
        part, parts = map(int, flags.part.split("/"))
        for name, relative, damage in chosen[:: flags.every][part - 1 :: parts][flags.begin :]:
            scratch = place / "scratch"
            scratch.mkdir(exist_ok=True)
            wrong = try_case(kinds[name], relative, damage, scratch)
            tried[name] += 1
            failed += bool(wrong)
            for line in wrong or ["as promised"]:
                print(f"{name}, {relative}, {damage}: {line}", flush=True)
        print(f"{len(chosen)} cases in all, {time.monotonic() - begin:.0f} s")
    print(dict(tried), f"{sum(tried.values())} cases, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
