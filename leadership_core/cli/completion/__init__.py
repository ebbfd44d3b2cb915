"""`leadership completion`: prints the script that completes command lines in a shell.

The scripts beside this file are made from the commands by `python -m tools.completion`.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigurationError
from .. import output
from ..arguments import Arguments, Command

__all__ = ["COMMAND", "SCRIPTS"]

SCRIPTS = {"bash": "leadership.bash", "zsh": "_leadership", "fish": "leadership.fish"}
"""The file of each shell."""


def completion(arguments: Arguments) -> int:
    shell = arguments.shell
    if shell not in SCRIPTS:
        raise ConfigurationError(
            f"the shell must be one of {', '.join(SCRIPTS)}, not {shell!r:.60}"
        )
    script = Path(__file__).with_name(SCRIPTS[shell]).read_text(encoding="utf-8")
    output.print_line(script.removesuffix("\n"))
    return 0


COMMAND = Command(
    name="completion",
    summary="print the script that completes command lines in bash, zsh or fish",
    description=(
        "Prints a script for bash, zsh or fish. To use it in every new shell:\n"
        "  bash  leadership completion bash >~/.local/share/bash-completion/completions/leadership\n"
        "  zsh   leadership completion zsh >FOLDER/_leadership    (a folder of $fpath)\n"
        "  fish  leadership completion fish >~/.config/fish/completions/leadership.fish\n"
        "bash needs the package bash-completion for that; without it, put\n"
        '  eval "$(leadership completion bash)"\n'
        "into ~/.bashrc."
    ),
    words=("SHELL",),
    choices=tuple(SCRIPTS),
    run=completion,
)
