"""Deadline of the current call: the time that its requests to the store may take.

The engine decides how much time each request gets: a renewal gets less of it near the end of its
lease. A store reads it where it sends the request, so no method of a store needs a timeout argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from . import clock

__all__ = ["DEFAULT_TIMEOUT", "call_timeout", "half_timeout", "remaining_timeout", "single_timeout"]

DEFAULT_TIMEOUT = 5.0
"""Seconds that a user's call to a store may take."""

_MOST = 86_400.0  # no socket can wait longer than that
_LEAST = 0.001  # for a socket 0 means not to block

_until: ContextVar[float | None] = ContextVar("leadership_call_timeout", default=None)


@contextmanager
def call_timeout(seconds: float) -> Iterator[None]:
    """Let every request that this thread sends inside end within `seconds` from now.

    An outer timeout that ends earlier stays in force.
    """
    until = clock.now() + min(_MOST, seconds)
    outer = _until.get()
    token = _until.set(until if outer is None else min(outer, until))
    try:
        yield
    finally:
        _until.reset(token)


@contextmanager
def single_timeout() -> Iterator[None]:
    """Let all requests inside share the time that the first of them would have alone.

    As the decorator ``@single_timeout()`` it is for a method of a store that makes several.
    """
    with call_timeout(remaining_timeout()):
        yield


def half_timeout() -> AbstractContextManager[None]:
    """Limit the requests inside to half of the remaining time.

    So an answer that is lost leaves time to read back what has become of the request.
    """
    return call_timeout(remaining_timeout() / 2)


def remaining_timeout() -> float:
    """Seconds that the next request may take; a store passes them to its client library."""
    until = _until.get()
    return DEFAULT_TIMEOUT if until is None else max(_LEAST, until - clock.now())
