"""Output of the commands: whole lines, flushed at once, and the library's log on stderr."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from ..backend.text import MESSAGE_CHARACTERS, one_line, printable

__all__ = [
    "StepPrinter",
    "configure_logging",
    "escaped",
    "log",
    "one_line",
    "prepare",
    "print_error",
    "print_foreign",
    "print_line",
    "print_record",
    "silence",
    "timestamp",
]

_LONGEST_TRACEBACK = 20_000  # characters

log: logging.Logger = logging.getLogger("leadership.command")


def prepare() -> None:
    """Make stdout accept any value that a store may hold, byte for byte and line-buffered."""
    null = Path(os.devnull)
    if sys.stdout is None:  # closed by the caller: >&-
        sys.stdout = null.open("w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = null.open("w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)


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


def configure_logging(*, verbose: bool) -> None:
    """Log to stderr: errors only, or everything down to DEBUG of this library."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLineFormatter(verbose=verbose))
    logging.basicConfig(level=logging.WARNING if verbose else logging.ERROR, handlers=[handler])
    if verbose:
        logging.getLogger("leadership").setLevel(logging.DEBUG)
    logging.captureWarnings(capture=True)

    def log_thread_error(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            log.error(
                "a thread failed",
                exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback),
            )

    threading.excepthook = log_thread_error


class _OneLineFormatter(logging.Formatter):
    """Formats a record as one line; a traceback follows if `verbose` is true."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        message = one_line(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if not self._verbose:
            if error is not None:
                message += f": {type(error).__name__}: {one_line(error)}"
            return f"{record.name}: {message}"
        time_ = self.formatTime(record, self.datefmt)
        lines = [f"{time_} {record.levelname} {record.name}: {message}"]
        if error is not None:
            # Printable and bounded: an exception's text may come from a server.
            text = "".join(traceback.format_exception(error))
            lines += map(printable, text[:_LONGEST_TRACEBACK].splitlines())
            if len(text) > _LONGEST_TRACEBACK:
                lines.append(f"... ({len(text)} characters)")
        return "\n".join(lines)
