"""What the engine's own threads say when something has failed that must not end them."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

__all__ = ["complain"]


def complain(log: logging.Logger, what: str) -> None:
    """Log the exception that is being handled; raises nothing."""
    with suppress(BaseException):  # to write a line takes memory, too
        log.error(what, exc_info=sys.exc_info())
