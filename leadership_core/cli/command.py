"""Declaration of one command of the program: its words, its options and its help."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

__all__ = ["ENVIRONMENT_URL", "Command"]

ENVIRONMENT_URL = "LEADERSHIP_URL"
"""Environment variable that is used if no URL is given."""


class Command(NamedTuple):
    """One command of the program. Its code is the function of its name in the module of its name.

    Attributes:
        name: the word that selects it.
        summary: its line in `leadership --help`.
        description: the beginning of its own `--help`.
        words: its positional arguments, in order; "[URL]" and "[VALUE]" may be left out altogether, and
            "[URL...]" is any number of URLs.
        lease: whether it has `--ttl` and `--margin`.
        check: whether it has `--ttl` and `--seconds`.
        child: whether it has `--once` and `--grace`, and runs the command after `--`.
        http: whether it has `--http`.
        bench: whether it has the options of `leadership bench`, whose `--json` names a file.
        choices: the values of its only word, if there is a choice of few.
    """

    name: str
    summary: str
    description: str
    words: tuple[str, ...] = ()
    lease: bool = False
    check: bool = False
    child: bool = False
    http: bool = False
    bench: bool = False
    choices: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The command with its positional arguments."""
        return " ".join(["leadership", self.name, *self.words, *self.usage_of_child])

    @property
    def usage_of_child(self) -> list[str]:
        """The end of the command line, after the options."""
        return ["--", "COMMAND..."] if self.child else []

    def load(self) -> Callable[..., int]:
        """Import the function that runs the command: it takes `Arguments`, and returns the exit code."""
        function: Callable[..., int] = getattr(
            import_module(f".{self.name}", __package__), self.name
        )
        return function
