"""Members of a status page: the candidates and followers, their stores, and their events."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any, Protocol, TypeAlias

from ..backend import clock
from ..candidate import Candidate
from ..engine.open_store import OpenStore
from ..events import Event
from ..follower import Follower
from ..term import Term

__all__ = [
    "EventSource",
    "Member",
    "ThreadMember",
    "full_lease_of",
    "is_held_back",
    "overdue_of",
    "store_of",
    "thread_member",
]

ThreadMember: TypeAlias = Candidate | Follower


class AsyncioMember(Protocol):
    """A candidate or follower of `leadership_core.aio`, which programs without asyncio do not import."""

    @property
    def key(self) -> str: ...

    def events(self) -> AsyncIterator[Event]: ...


Member: TypeAlias = ThreadMember | AsyncioMember
"""What `serve` takes."""


def thread_member(member: object) -> ThreadMember | None:
    """The candidate or follower of threads that it is, or that is behind it; None for anything else."""
    if isinstance(member, Candidate | Follower):
        return member
    aio = sys.modules.get("leadership_core.aio")  # it has no member in this process otherwise
    if aio is not None and isinstance(member, aio.Candidate | aio.Follower):
        name = "_candidate" if isinstance(member, aio.Candidate) else "_follower"
        behind: ThreadMember = getattr(member, name)
        return behind
    return None


def store_of(member: ThreadMember) -> OpenStore:
    """The open store behind a member."""
    return member._store  # noqa: SLF001 - the page reads what its members do not show to users


def is_held_back(candidate: Candidate) -> bool:
    """Whether it does not stand for election because the program says that it is not ready."""
    return candidate._control._driver.held_back  # noqa: SLF001 - as above


def full_lease_of(term: Term) -> float:
    """Seconds that are left of a term's lease right after a renewal."""
    return term._state.lease.max_validity  # noqa: SLF001 - as above


def overdue_of(term: Term) -> float:
    """Seconds since the deadline of a term's lease has passed: a paused process learns of it late."""
    deadline: float = getattr(term._state.lease, "deadline", inf)  # noqa: SLF001 - as above
    return max(0.0, clock.now() - deadline)


class EventSource:
    """The events of one member, from those that describe its present state; starts nothing.

    It is not a listener of the member: a callback of the user's that hangs would delay it.

    Args:
        member: a candidate or a follower.
        wake: called when `take` may have something to return; in any thread, and in signal handlers.
    """

    def __init__(self, member: ThreadMember, wake: Callable[[], object]) -> None:
        broadcaster: Any = member._state.broadcaster  # noqa: SLF001 - as above
        self._stream = broadcaster.stream()
        self._changed = broadcaster.changed
        self._wake = wake
        self._changed.subscribe(wake)

    def take(self) -> Event | None:
        """The next event, or None while there is none; never blocks."""
        event: Event | None = self._stream.take()
        return event

    def close(self) -> None:
        """End the calls of `wake`."""
        self._changed.unsubscribe(self._wake)
