"""Output of the commands: whole lines, flushed at once."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from typing import TextIO

from ..backend.text import MESSAGE_CHARACTERS, one_line, printable

__all__ = [
    "StepPrinter",
    "escaped",
    "one_line",
    "prepare",
    "print_error",
    "print_foreign",
    "print_line",
    "print_record",
    "silence",
    "timestamp",
]


def prepare() -> None:
    """Make stdout accept any value that a store may hold, byte for byte and line-buffered."""
    if sys.stdout is None:  # closed by the caller: >&-
        sys.stdout = _null()
    if sys.stderr is None:
        sys.stderr = _null()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)


def _null() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def silence() -> None:
    """Discard all further output to stdout: its reader has gone."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
    finally:
        os.close(null)


def print_line(line: str) -> None:
    """Print a line; raises BrokenPipeError if the reader of stdout has gone."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_record(**fields: object) -> None:
    """Print one JSON object; raises BrokenPipeError if the reader of stdout has gone."""
    import json  # only here: most commands print text

    print_line(json.dumps(fields))


def print_error(source: str, message: object) -> None:
    """Print one line on stderr: the command, and its message."""
    with contextlib.suppress(OSError):  # without a reader the exit code still reports it
        sys.stderr.write(f"{source}: {one_line(message)}\n")
        sys.stderr.flush()


def print_foreign(text: str) -> None:
    """Print a value that another program wrote: escaped on a terminal, byte for byte elsewhere.

    A reader of a pipe or a file wants every byte; a terminal would obey control characters.
    """
    print_line(escaped(text) if sys.stdout.isatty() else text)


def escaped(text: str) -> str:
    """Return the text for people: printable, on one line, and cut if it is very long."""
    cut = text[:MESSAGE_CHARACTERS]
    rest = "" if cut == text else f"... ({len(text)} characters)"
    return printable(cut) + rest


def timestamp() -> str:
    """Return the local time, for people."""
    return time.strftime("%H:%M:%S")


class StepPrinter:
    """Prints the steps of a command, each at once.

    Args:
        as_json: print one JSON object a line instead of the text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json

    def print_step(self, step: str, text: str, **facts: object) -> None:
        """Print a step: its text for people, or its name and the facts as JSON."""
        if self._json:
            print_record(time=round(time.time(), 6), step=step, **facts)
        else:
            print_line(text)
