"""The command line: `lstm-lab VERB`.

In: arguments. Out: an exit code (`utils/errors.py`); results on standard output, progress and
errors on standard error. Read `runs` next (train), then `studies`. This is the only package that
reads flags.

Importing this package does not import JAX, so `help` answers at once. A verb imports what it needs
when it is called, and chooses the devices before JAX makes its first array. Of the modules here,
only `orchestrate` imports JAX at its top, so the verbs import it late.
"""

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
           trains one run, or N seeds in one program; an interrupted run resumes;
           --find_lr: plots a range test of learning rates instead;
           --hosts=K/N@ADDRESS:PORT on each of N hosts, or --hosts=auto: one run on all hosts
  sweep    --study=FILE.py [--workdir=DIR] [--jobs=N] [--results=FILE] [--rerun=failed] [--dry_run]
           runs a study, only what is missing, in N processes that share the cores;
           --launcher=slurm --slurm=timeout_min=60,... submits a job array of N; --emit=commands
           prints N command lines for another scheduler
  reproduce NAME [--trials=N] [flags of sweep]
           runs a study of experiments/ and compares it with published results; exit code 1 if a
           claim fails
  pack     --workdir=DIR --out=FILE.jsonl.gz   writes a study's results to one file, for --results
  status   --workdir=DIR     shows which runs are done, running, failed (and why) or missing
  report   --workdir=DIR[,DIR ...]   tables, statistics and figures of a study, or of several
           studies, then in --out=DIR; --watch updates it while a sweep runs
  compare  FILE.py[:NAME] [--against=vanilla] [--tasks=A,B] [--budget=TRIALS|HOURSh]
           compares your own cell with a baseline: first its gradients, then a battery of tasks
           with the same tuning budget, matched parameters and paired seeds; one verdict
  predict  --workdir=DIR [--input=FILE] [--format=json|csv]
           predictions of a finished run for each line of a file or of standard input;
           --stream: the lines are one sequence, and each line is answered when it arrives;
           --beam=N: number of hypotheses of a translation
  generate --workdir=DIR [--prompt=TEXT] [--length=N] [--temperature=0.8] [--top_k=N] [--top_p=P]
           [--seed=N]        generates text with a trained language model; with a model of music:
           --format=midi --out=FILE.mid
  summary  --config=FILE.py  layers, shapes, parameters and operations of a model
  check    --cell=NAME or FILE.py:NAME   tests gradients, lengths, chunks and backends of a cell
  bench    --suite=layer|train|population [--contenders=A,B] [--rounds=N] [--milliseconds=N]
           [--out=FILE.json]  timings of lstm_lab and of other installed libraries, N ms a turn;
           FILE.md has the tables;
           --suite=trials [--trials=N] [--epochs=N]: the Odyssey's trials, end to end;
           --suite=backends [--table=FILE]: our backends by cell and shape, from which `auto`
           chooses; --suite=errors: float32, TF32 and bfloat16 compared with float64

  --data_dir=DIR  folder of the data sets (default: $LSTM_LAB_DATA, or the user's cache)
  --devices=N     CPU cores to use as devices (default: all)

A config may also be the run.json of an earlier run. Exit codes: 0 done, 1 a run failed,
2 wrong usage, config or data, 75 interrupted: run the command again to resume."""


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns the exit code.

    Args:
      argv: the verb and its flags; None takes those of the process.

    Returns:
      0 done, 1 a run failed, 2 wrong usage, config or data, 75 interrupted.

    Example:
      main(["summary", "--config=configs/adding.py"])
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("help", "--help", "-h"):
        print(USAGE)
        return DONE if arguments else WRONG_USAGE
    verb, *rest = arguments
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        return VERBS[verb](rest)
    # Only errors that the user can fix. A bug keeps its traceback.
    except (UserError, FlagsError) as error:
        # Messages of absl have several lines; they become one line here.
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
