"""How long the call that is under way may take.

The engine decides how much time each request to a store gets: a renewal has less of it the
nearer the end of its lease is. A store asks for it where it sends the request, so that no
method of a store needs a timeout argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from . import clock

__all__ = ["DEFAULT_BUDGET", "budget", "remaining_budget", "shared_budget"]

DEFAULT_BUDGET = 5.0
"""Seconds that a call of the user's own to a store may take."""

_MOST = 86_400.0  # no socket can wait for as long as a user may ask for
_LEAST = 0.001  # a socket takes 0 for "do not block", which is something else

_until: ContextVar[float | None] = ContextVar("leadership_budget", default=None)


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Let every request that this thread sends inside end within `seconds` from now.

    An outer budget that ends earlier stays in force.
    """
    until = clock.now() + min(_MOST, seconds)
    outer = _until.get()
    token = _until.set(until if outer is None else min(outer, until))
    try:
        yield
    finally:
        _until.reset(token)


@contextmanager
def shared_budget() -> Iterator[None]:
    """Let all requests inside share the time that the first of them would have alone.

    As the decorator ``@shared_budget()`` it is for a method of a store that makes several.
    """
    with budget(remaining_budget()):
        yield


def remaining_budget() -> float:
    """Seconds that the next request may take; a store passes them to its client library."""
    until = _until.get()
    return DEFAULT_BUDGET if until is None else max(_LEAST, until - clock.now())
