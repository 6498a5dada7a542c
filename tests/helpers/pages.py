"""Runs the blocks of a documentation page in order, with training cut short.

A block `sh` is run command by command, in this process where it is a plain `lstm-lab` command: that
saves the seconds that a new process needs to start. A block `python` whose first line is a comment
with a file's name is written to that file; all others are one script.
"""

import io
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import lstm_lab as ll
from lstm_lab.cli import main
from lstm_lab.config.find import list_files
from lstm_lab.config.parsing import with_values
from tests.helpers.docs import run_command, shorten

# Commands that need a network, a cluster, a browser or the packages of loggers, that never end, or
# that train a whole study of the package.
NOT_RUN = (
    r"^(pip|git|npm|tensorboard|wandb|mlflow|aim|python -m http.server) "
    r"|--launcher=slurm|--watch|^until |--log=(wandb|mlflow|aim)"
    # They need the extras `interop` and `peers`; tests/parity exports.
    r"|sweep digits_ablation --jobs|export .*--to=(onnx|web|keras)"
    # Their file is one of PyTorch.
    r"|import theirs.safetensors --from=torch|init_from=mine.safetensors"
    # They need the compiler of a TPU or GPU; tests/compilation calls it where it is installed.
    r"|--target=(v5e|v5p|v6e|h100|a100)"
)
# Blocks that need PyTorch or ONNX Runtime; tests/parity runs the same code.
OTHER_FRAMEWORKS = (
    r"import onnxruntime|import load  # in the folder|safetensors\.torch|: Tensor|my_symbols"
)
SHORT_STUDY = """

_whole_study = get_study


def get_study():
    from tests.helpers.pages import shorten_study

    return shorten_study(_whole_study())
"""


def blocks_of(text):
    """Returns (language, text) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)


def commands_of(block):
    """Returns the commands of a shell block; a loop over lines is none of its parts."""
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def file_name(block):
    """Returns the name of the file that a Python block defines, or None."""
    found = re.match(r"# ([\w/]+\.py)\n", block)
    return found and found[1]


def shorten_study(study):
    """Returns the study with runs of two steps or one epoch."""
    length = short_length(study.settings["train"])
    tuning = study.tuning and replace(study.tuning, overrides={})
    return replace(study, base=with_values(study.settings, length), tuning=tuning)


def short_length(train):
    """Returns the settings that shorten a run with these settings of `train`."""
    if train.get("epochs"):
        return {"train.epochs": 1}
    return {"train.steps": 2, "train.eval_every": 1}


def write_files(text):
    """Writes the files that a page defines; its studies are shortened."""
    for language, block in blocks_of(text):
        if language == "python" and file_name(block):
            study = SHORT_STUDY if "def get_study" in block else ""
            Path(file_name(block)).write_text(block + study)


def run_page(text, folder, monkeypatch, capsys, is_slow=lambda command: False):
    """Runs all blocks of a page in a folder, except the slow commands.

    Returns:
      The output of each command and of the script, by command; the script is named "python".
    """
    monkeypatch.chdir(folder)
    write_files(text)
    outputs, script = {}, []
    for language, block in blocks_of(text):
        if language == "python" and not file_name(block):
            script += [] if re.search(OTHER_FRAMEWORKS, block) else [block]
        elif language == "sh":
            for command in commands_of(block):
                if not re.search(NOT_RUN, command) and not is_slow(command):
                    outputs[command] = _run(shorten(command), folder, monkeypatch, capsys)
    if script:
        _shorten_training(monkeypatch)
        exec(compile("\n".join(script), "page.py", "exec", dont_inherit=True), {})
        outputs["python"] = capsys.readouterr().out
    return outputs


def _run(command, folder, monkeypatch, capsys):
    """Runs one command and returns its output."""
    # The right end of a pipe reads what the left end prints.
    left, pipe, right = command.rpartition(" | ")
    words = shlex.split(right)
    if not words[0].endswith("lstm-lab") or re.search(r"[;&]( |$)", right):
        return run_command(command, folder)
    if pipe:
        text = subprocess.run(left, shell=True, cwd=folder, capture_output=True, text=True).stdout
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
    capsys.readouterr()
    code = main(words[1:])
    captured = capsys.readouterr()
    assert code == 0, f"{command}\n{captured.out}\n{captured.err}"
    return captured.out


def _shorten_training(monkeypatch):
    """Makes `ll.train` and `ll.sweep` stop after two steps or one epoch."""
    train, sweep = ll.train, ll.sweep

    def short_train(config, *, overrides=None, **options):
        settings = {"epochs": 1} if _has_epochs(config) else {}
        return train(config, overrides={**(overrides or {}), **short_length(settings)}, **options)

    monkeypatch.setattr(ll, "train", short_train)
    monkeypatch.setattr(ll, "sweep", lambda study, **options: sweep(shorten_study(study)))


def _has_epochs(config):
    return '"epochs"' in list_files("configs")[config.partition(":")[0]].read_text()
