"""What the commands print: lines that are whole, flushed at once, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

__all__ = ["complain", "one_line", "prepare", "printable", "put", "put_record", "silence", "stamp"]


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


def one_line(what: object) -> str:
    """The text in one line, with nothing in it that a terminal would obey."""
    return printable(" ".join(str(what).split()))


def printable(text: str) -> str:
    """The text with all that does not print escaped: a value may be anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def stamp() -> str:
    """The local time, for people."""
    return time.strftime("%H:%M:%S")
