"""The verb completion: the script that makes a shell complete verbs, flags and names.

In: the name of a shell. Out: a script on standard output, which click generates.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lstm_lab.cli.options import OneOf
from lstm_lab.utils.errors import DONE

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="""\b
Examples:
  lstm-lab completion bash >> ~/.bashrc
  lstm-lab completion zsh >> ~/.zshrc
  lstm-lab completion fish > ~/.config/fish/completions/lstm-lab.fish"""
)
@click.argument("shell", type=OneOf(SHELLS))
def completion(shell: str) -> int:
    """Prints the script for completion in a shell."""
    # The group that this verb belongs to; importing it here would be a circle.
    app = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    assert script is not None
    print(script(app, {}, "lstm-lab", "_LSTM_LAB_COMPLETE").source())
    return DONE
