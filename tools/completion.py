"""Program that writes the shell completions of the command `leadership` into the package.

    python -m tools.completion

shtab makes them from the options of all commands, so the package itself needs no shtab.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from leadership_core.cli import completion
from leadership_core.cli.arguments import add_options
from leadership_core.cli.commands import COMMANDS
from leadership_core.cli.completion import SCRIPTS

__all__ = ["script"]


def script(shell: str) -> str:
    """Return the completion script for that shell."""
    parser = argparse.ArgumentParser(prog="leadership", add_help=False)
    parser.add_argument("-h", "--help", action="help", help="print this help")
    parser.add_argument("--version", action="version", version="", help="print the version")
    commands = parser.add_subparsers()
    for command in COMMANDS.values():
        each = commands.add_parser(command.name, help=command.summary, add_help=False)
        if command.choices:
            each.add_argument("word", choices=command.choices, help=command.words[0])
        elif command.words:
            # zsh offers no option after a word that is not declared.
            words = each.add_argument("words", nargs="*", help=" ".join(command.words))
            if command.child:
                words.complete = shtab.FILE  # type: ignore[attr-defined]  # as shtab wants it
        add_options(each, command, "")
    return shtab.complete(parser, shell=shell).rstrip("\n") + "\n"


def main() -> None:
    folder = Path(completion.__file__).parent
    for shell, name in SCRIPTS.items():
        folder.joinpath(name).write_text(script(shell), encoding="utf-8")


if __name__ == "__main__":
    main()
