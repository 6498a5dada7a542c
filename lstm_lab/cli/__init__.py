"""The command line: `lstm-lab VERB`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from absl.flags import Error as FlagsError

from lstm_lab.cli.bench import bench
from lstm_lab.cli.inference import generate, predict
from lstm_lab.cli.runs import check, summary, train
from lstm_lab.cli.studies import compare, pack, report, reproduce, status, sweep
from lstm_lab.utils.errors import DONE, WRONG_USAGE, UserError, unknown
from lstm_lab.utils.progress import say

USAGE = """lstm-lab VERB [flags]

  train    --config=FILE.py[:WORDS] [--config.PATH=VALUE ...] [--seeds=N] [--workdir=DIR]
           one run, or N seeds as one program; resumes if it was interrupted;
           --find_lr: a range test of learning rates instead, with a figure;
           --hosts=K/N@ADDRESS:PORT on each of N hosts, or --hosts=auto: one run over all
  sweep    --study=FILE.py [--workdir=DIR] [--jobs=N] [--results=FILE] [--rerun=failed] [--dry_run]
           a study; runs only what is missing, in N processes that share the cores;
           --launcher=slurm --slurm=timeout_min=60,... as a job array of N; --emit=commands
           prints N command lines for another scheduler
  reproduce NAME [--trials=N] [and what sweep takes]
           a study of experiments/ with published results; exit code 1 if a claim fails
  pack     --workdir=DIR --out=FILE.jsonl.gz   a study's results as one file, for --results
  status   --workdir=DIR     runs that are done, running, failed (and why) or left
  report   --workdir=DIR[,DIR ...]   tables, statistics and figures of one study, or of several;
           --watch updates the report while a sweep runs
  compare  FILE.py[:NAME] [--against=vanilla] [--tasks=A,B] [--budget=TRIALS|HOURSh]
           your own cell against a baseline: checks of its gradients, then a comparison on several
           tasks with equal tuning, matched parameters and paired seeds; one verdict
  predict  --workdir=DIR [--input=FILE] [--format=json|csv]
           predictions of a finished run for each line of a file, or of standard input;
           --stream: the lines are one sequence, with a prediction after each
  generate --workdir=DIR [--prompt=TEXT] [--length=N] [--temperature=0.8] [--top_k=N] [--top_p=P]
           [--seed=N]        a language model continues a prompt; a music model composes:
           --format=midi --out=FILE.mid
  summary  --config=FILE.py  layers, shapes, parameters and arithmetic of a model
  check    --cell=NAME or FILE.py:NAME   checks gradients, lengths, chunks and backends of a cell
  bench    --suite=layer|train|population [--contenders=A,B] [--rounds=N] [--out=FILE.json]
           timings compared with installed libraries; FILE.md holds the tables;
           --suite=trials [--trials=N] [--epochs=N]: the Odyssey's trials, end to end;
           --suite=backends [--table=FILE]: our backends by cell and shape, which `auto` reads;
           --suite=errors: float32, TF32 and bfloat16 compared with float64

  --data_dir=DIR  folder of the data sets (default: $LSTM_LAB_DATA, or the user's cache)
  --devices=N     CPU cores to use as devices (default: all)

A config may also be the run.json of an earlier run. Exit codes: 0 done, 1 a run failed,
2 wrong usage, config or data, 75 interrupted: run it again to resume."""


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("help", "--help", "-h"):
        print(USAGE)
        return DONE if arguments else WRONG_USAGE
    verb, *rest = arguments
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        return VERBS[verb](rest)
    except (UserError, FlagsError) as error:
        say(f"lstm-lab: {' '.join(str(error).split())}")
        return WRONG_USAGE


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "sweep": sweep,
    "reproduce": reproduce,
    "compare": compare,
    "generate": generate,
    "predict": predict,
    "pack": pack,
    "status": status,
    "report": report,
    "summary": summary,
    "check": check,
    "bench": bench,
}
