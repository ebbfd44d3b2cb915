"""Calls into a store, with their time limit, whatever the store raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from ..budget import budget
from ..errors import ConfigurationError, StoreError, StoreUnavailable

__all__ = ["call"]

log = logging.getLogger("leadership.engine")

T = TypeVar("T")


def call(limit: float, request: Callable[[], T]) -> T:
    """Make one request within `limit` seconds.

    Raises:
        StoreError: as the store does.
        ConfigurationError: as the store does.
        StoreUnavailable: the store raised anything else, which is a mistake of its plugin. It
            is logged with its traceback, and counts as no answer: the safe reading.
    """
    try:
        with budget(limit):
            return request()
    except (StoreError, ConfigurationError):
        raise
    except Exception as error:
        log.exception("store.unexpected_error")
        raise StoreUnavailable(f"the store failed: {type(error).__name__}: {error}") from error
