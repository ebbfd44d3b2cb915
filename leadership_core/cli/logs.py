"""The log of the library, kept out of the way of what the commands say."""

from __future__ import annotations

import logging
import threading

__all__ = ["configure"]

log = logging.getLogger("leadership.command")


class _OneLine(logging.Formatter):
    """A record in one line; its traceback only for those who asked for more."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        if self._verbose:
            return super().format(record)
        what = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            what += f": {type(error).__name__}: {error}"
        return f"{record.name}: {' '.join(what.split())}"


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
