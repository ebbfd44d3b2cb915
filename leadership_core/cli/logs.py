"""The log of the library, kept out of the way of what the commands say."""

from __future__ import annotations

import logging
import threading
import traceback

from ..text import one_line, printable

__all__ = ["configure"]

_LONGEST_TRACEBACK = 20_000  # characters

log = logging.getLogger("leadership.command")


class _OneLine(logging.Formatter):
    """A record in one line; with the traceback only if that was asked for."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        what = one_line(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if not self._verbose:
            if error is not None:
                what += f": {type(error).__name__}: {one_line(error)}"
            return f"{record.name}: {what}"
        head = f"{self.formatTime(record, self.datefmt)} {record.levelname} {record.name}: {what}"
        return head if error is None else "\n".join([head, *_traceback(error)])


def _traceback(error: BaseException) -> list[str]:
    """The lines of a traceback, printable, and bounded: a message in it may be a server's."""
    text = "".join(traceback.format_exception(error))
    lines = [printable(line) for line in text[:_LONGEST_TRACEBACK].splitlines()]
    return lines if len(text) <= _LONGEST_TRACEBACK else [*lines, f"... ({len(text)} characters)"]


def configure(*, verbose: bool) -> None:
    """Log to stderr: errors only, or all that may help."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(verbose=verbose))
    logging.basicConfig(level=logging.WARNING if verbose else logging.ERROR, handlers=[handler])
    if verbose:
        logging.getLogger("leadership").setLevel(logging.DEBUG)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread_error


def _log_thread_error(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None:
        log.error(
            "a thread failed",
            exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback),
        )
