"""Elections of one status page, which read the events of its members."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from ..backend.protocols import Leader
from ..candidate import Candidate
from ..engine.store_base import StoreBase
from ..errors import ConfigurationError, LeadershipError
from ..events import FollowerEvent
from ..follower import Follower
from .history import CandidateRecord, ElectionRecord
from .members import EventSource, Member, ThreadMember, is_held_back, store_of, thread_member

__all__ = ["Elections"]


class _Take(Protocol):
    def __call__(self, event: Any, at: float, *, past: bool = False) -> None: ...


class Elections:
    """The elections of some candidates and followers, one for each key on each store.

    An election whose members are candidates only gets a follower of its own, so that the page shows
    who leads while they do not.

    Args:
        members: candidates and followers.
        wake: called when `read` may have something to read; in any thread, and in signal handlers.

    Attributes:
        records: in the order of the members.

    Raises:
        ConfigurationError: there is no member, or one is of another type.
        StoreClosed: the store of one is closed.
        ForkedStore: the store of one belongs to the parent process.
    """

    def __init__(self, members: Iterable[Member], wake: Callable[[], object]) -> None:
        self.records: list[ElectionRecord] = []
        self._wake = wake
        self._followers: list[Follower] = []  # of this page
        self._sources: list[tuple[int, EventSource, _Take]] = []
        self._ready: set[int] = set()  # the sources that may have events
        given: list[ThreadMember] = []
        for one in members:
            member = thread_member(one)
            if member is None:
                raise ConfigurationError(
                    f"serve() takes candidates and followers, not {type(one).__name__}"
                )
            given.append(member)
        if not given:
            raise ConfigurationError("serve() takes at least one candidate or follower")
        groups: dict[tuple[int, str], list[ThreadMember]] = {}
        for member in dict.fromkeys(given):
            groups.setdefault((id(store_of(member)), member.key), []).append(member)
        try:
            for group in groups.values():
                self._add(group)
        except BaseException:
            self.close()
            raise

    def _add(self, group: list[ThreadMember]) -> None:
        store = store_of(group[0])
        store.guard()
        followers = [one for one in group if isinstance(one, Follower)]
        if not followers:
            followers = [Follower(StoreBase(store), group[0].key)]
            self._followers += followers
        follower = followers[0]

        def confirmed() -> Leader | None:
            with contextlib.suppress(LeadershipError):
                return follower.leader
            return None

        election = ElectionRecord(group[0].key, store.url, confirmed)
        for one in group:
            if isinstance(one, Candidate):
                record = CandidateRecord(one.value, one.ttl, partial(is_held_back, one))
                election.candidates.append(record)
                self._listen(one, partial(election.on_candidate_event, record))

        def on_follower_event(event: FollowerEvent, at: float, *, past: bool = False) -> None:
            del past  # the first event of a follower is never taken for the beginning of a term
            election.on_follower_event(event, at)

        self._listen(follower, on_follower_event)
        self.records.append(election)
        follower.events()  # starts it

    def _listen(self, member: ThreadMember, take: _Take) -> None:
        number = len(self._sources)

        def wake() -> None:
            self._ready.add(number)
            self._wake()

        source = EventSource(member, wake)
        while (event := source.take()) is not None:
            take(event, time.time(), past=True)
        self._sources.append((len(self.records), source, take))
        self._ready.add(number)

    def read(self) -> set[int]:
        """Take the events that have come, and return the numbers of the elections that may have changed."""
        changed: set[int] = set()
        while self._ready:
            number, source, take = self._sources[self._ready.pop()]
            changed.add(number)  # also without an event: a candidate may be ready now
            while (event := source.take()) is not None:
                take(event, time.time())
        return changed

    def close(self) -> None:
        """Read no more, and stop the followers of this page; does not block."""
        for _number, source, _take in self._sources:
            source.close()
        for follower in self._followers:
            with contextlib.suppress(LeadershipError):
                follower.stop()
