"""What the commands print: lines that are whole, flushed at once, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

from ..text import MESSAGE_CHARACTERS, one_line, printable

__all__ = [
    "complain",
    "one_line",
    "prepare",
    "put",
    "put_foreign",
    "put_record",
    "shown",
    "silence",
    "stamp",
]


def prepare() -> None:
    """Make stdout take any value that a store may hold, byte for byte, line by line."""
    nowhere = Path(os.devnull)
    if sys.stdout is None:  # closed by the caller: >&-
        sys.stdout = nowhere.open("w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = nowhere.open("w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)


def silence() -> None:
    """Send what is still to be written nowhere: the reader has gone away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
    finally:
        os.close(nowhere)


def put(line: str) -> None:
    """Print a line; raises BrokenPipeError when nobody reads any more."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def put_record(**fields: object) -> None:
    """Print one JSON object."""
    put(json.dumps(fields))


def complain(who: str, what: object) -> None:
    """Print one line on stderr."""
    with contextlib.suppress(OSError):  # nobody reads it, and the exit code says it, too
        sys.stderr.write(f"{who}: {one_line(what)}\n")
        sys.stderr.flush()


def put_foreign(text: str) -> None:
    """Print a line that another program wrote: as it is, but printable and bounded on a terminal.

    What reads a pipe or a file wants every byte; a terminal would obey what is not printable.
    """
    put(shown(text) if sys.stdout.isatty() else text)


def shown(text: str) -> str:
    """The text for a person: printable and on one line, spaces kept, cut if it is very long."""
    cut = text[:MESSAGE_CHARACTERS]
    rest = "" if cut == text else f"... ({len(text)} characters)"
    return printable(cut) + rest


def stamp() -> str:
    """The local time, for people."""
    return time.strftime("%H:%M:%S")
