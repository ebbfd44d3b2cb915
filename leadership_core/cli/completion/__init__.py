"""`leadership completion`: prints the script that completes command lines in a shell.

The scripts beside this file are made from the commands by `python -m tools.completion`.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigurationError
from .. import output
from ..arguments import Arguments

__all__ = ["SCRIPTS", "completion"]

SCRIPTS = {"bash": "leadership.bash", "zsh": "_leadership", "fish": "leadership.fish"}
"""The file of each shell."""


def completion(arguments: Arguments) -> int:
    """Print the script of a shell; returns the exit code."""
    shell = arguments.shell
    if shell not in SCRIPTS:
        raise ConfigurationError(
            f"the shell must be one of {', '.join(SCRIPTS)}, not {shell!r:.60}"
        )
    script = Path(__file__).with_name(SCRIPTS[shell]).read_text(encoding="utf-8")
    output.print_line(script.removesuffix("\n"))
    return 0
