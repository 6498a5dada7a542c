"""The texts of README and docs/: their code blocks and links, and how to run their commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT

# The installed script, as users have it: it does not see the current folder as a source of modules.
LSTM_LAB = str(Path(sys.executable).parent / "lstm-lab")


def code_blocks(text: str, language: str) -> list[str]:
    """Returns the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def local_links(text: str) -> list[str]:
    """Returns the targets of all links and images that point into the repository."""
    return re.findall(r"\]\((?!https?:)([^)]+)\)", text)


def shorten(command: str) -> str:
    """Returns the command for this interpreter, with training cut to one epoch or two steps."""
    if "train" in command.split():
        config = re.search(r" train (?:--config=)?(?:configs/)?(\w+)", command)
        path = ROOT / "configs" / f"{config and config[1]}.py"
        epochs = path.is_file() and '"epochs"' in path.read_text()
        length = "epochs=1" if epochs else "steps=2 --config.train.eval_every=1"
        # Behind the command itself, which may be a part of a loop.
        train = r"(lstm-lab train [^|&;]*[^|&; ])"
        command = re.sub(train, rf"\1 --config.train.{length}", command)
    return re.sub(r"(^|\| )lstm-lab", rf"\1{LSTM_LAB}", command)


def run_command(command: str, folder: Path) -> str:
    """Returns the output of a shell command run in the folder; if it fails, shows all output."""
    programs = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith(programs)},
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LSTM_LAB_DATA": str(folder / "data"),
        "HOME": str(folder),
        # Outside the temporary HOME, so that every command shares one cache of compiled programs.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
    }
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
