"""Calls into a store, with their time limit, whatever the store raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from ..budget import budget
from ..errors import (
    ConfigurationError,
    ForkedStore,
    SessionLost,
    StoreClosed,
    StoreUnavailable,
)
from .complaints import complain

__all__ = ["OUTCOMES", "call"]

log = logging.getLogger("leadership.engine")

T = TypeVar("T")

OUTCOMES = (StoreUnavailable, SessionLost, StoreClosed, ForkedStore, ConfigurationError)
"""What the requests of the engine may raise."""


def call(limit: float, request: Callable[[], T]) -> T:
    """Make one request within `limit` seconds.

    Raises:
        StoreUnavailable: as the store does; and when it raised anything that is none of these
            five, `BaseException`s such as asyncio's `CancelledError` included, which is a mistake
            of its plugin. That is logged with its traceback, and counts as no answer: the safe
            reading.
        SessionLost: as the store does.
        StoreClosed: as the store does.
        ForkedStore: as the store does.
        ConfigurationError: as the store does.
    """
    try:
        with budget(limit):
            return request()
    except OUTCOMES:
        raise
    except BaseException as error:  # nobody else would answer whoever waits for this request
        complain(log, "store.unexpected_error")
        raise StoreUnavailable(f"the store failed: {type(error).__name__}: {error}") from error
