"""The library's log on stderr, as the commands show it: one line a record."""

from __future__ import annotations

import logging
import threading
import traceback

from ..backend.text import one_line, printable

__all__ = ["configure_logging", "log"]

_LONGEST_TRACEBACK = 20_000  # characters

log: logging.Logger = logging.getLogger("leadership.command")


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
