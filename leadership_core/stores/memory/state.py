"""The state shared by all stores of one name: entries, sessions and watches.

Every operation is a transaction: it takes the lock, removes the expired sessions, does its work,
and notifies the watches of changed entries after it has released the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

from ...backend.entries import Change, Entry, Expected
from ...backend.event_count import EventCount
from ...backend.fence import Fence
from ...backend.protocols import StoreBackend
from ...backend.threads import start_daemon
from ...backend.time_source import TimeSource
from ...backend.validation import check_expected, check_fence
from ...backend.watches import WatchDelivery
from ...errors import NotApplied, SessionLost

__all__ = ["DebugState", "State"]

# Seconds. A thread's wait does not count the time for which the machine is suspended; the clock of
# the sessions does.
_LONGEST_WAIT = 1.0


@dataclass(slots=True)
class _Session:
    ttl: float
    expires_at: float
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class DebugState:
    """A snapshot of the state for tests and for a debugger; not part of the public interface.

    Attributes:
        revision: of the newest write.
        sessions: the ids of those that have not ended.
        watches: how many are served.
    """

    revision: int
    sessions: frozenset[str]
    watches: int


class State:
    """A key-value store with sessions that expire; thread-safe.

    Args:
        time_source: its clock decides when a session has expired; by default the machine's.

    Attributes:
        stores: the open ones.
        wrap: makes what `open_store` gets of each store that is opened from now on; for tests.
    """

    def __init__(self, time_source: TimeSource | None = None) -> None:
        self.time_source: Final = time_source or TimeSource()
        self.stores: Final[set[object]] = set()
        self.wrap: Callable[[StoreBackend], StoreBackend] | None = None
        self._clock: Final = self.time_source.clock
        self._lock: Final = threading.Lock()
        self._revision = 0
        self._entries: Final[dict[str, Entry]] = {}
        self._sessions: Final[dict[str, _Session]] = {}
        self._watched: Final[dict[tuple[str, bool], list[WatchDelivery[Change]]]] = {}
        self._timer: threading.Thread | None = None
        self._timer_changed: Final = EventCount()
        self._timer_stale = False  # an expiry may come earlier than the timer knows

    def debug_state(self) -> DebugState:
        """A snapshot for tests and for a debugger."""
        with self._transaction():
            return DebugState(
                revision=self._revision,
                sessions=frozenset(self._sessions),
                watches=sum(len(watches) for watches in self._watched.values()),
            )

    def get(self, key: str) -> Entry | None:
        with self._transaction():
            return self._entries.get(key)

    def subtree(self, prefix: str) -> list[Entry]:
        with self._transaction():
            return self._subtree(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: str | None,
        fence: Fence | None,
    ) -> Entry:
        with self._transaction() as changed:
            current = self._entries.get(key)
            if fence is not None:
                check_fence(fence, self._entries.get(fence.key))
            check_expected(key, current, expect)
            return self._write(key, value, session, changed)

    def take_over(self, key: str, value: bytes, session: str) -> Entry:
        """Give the key to the session, and end the one that has held it, in one step; for tests."""
        with self._transaction() as changed:
            current = self._entries.get(key)
            if current is not None and current.session not in {None, session}:
                self._end(str(current.session), changed)
            return self._write(key, value, session, changed)

    def delete(self, key: str, expect: Expected) -> bool:
        with self._transaction() as changed:
            current = self._entries.get(key)
            if current is None:
                return False
            check_expected(key, current, expect)
            self._remove(current)
            self._revision += 1
            changed.add(key)
            return True

    def delete_subtree(self, prefix: str) -> int:
        with self._transaction() as changed:
            found = self._subtree(prefix)
            for entry in found:
                self._remove(entry)
                self._revision += 1
                changed.add(entry.key)
            return len(found)

    def open_session(self, session: str, ttl: float) -> None:
        with self._transaction():
            self._sessions[session] = _Session(ttl, self._clock() + ttl)
            try:
                self._update_timer()
            except NotApplied:
                del self._sessions[session]
                raise

    def renew(self, session: str) -> float:
        with self._transaction():
            found = self._live_session(session)
            found.expires_at = self._clock() + found.ttl
            return found.ttl

    def close_session(self, session: str) -> None:
        with self._transaction() as changed:
            self._end(session, changed)

    def watch(self, key: str, tree: bool, watch: WatchDelivery[Change]) -> None:
        with self._transaction():
            self._watched.setdefault((key, tree), []).append(watch)
            try:
                self._update_timer()
            except NotApplied:
                self._forget(key, tree, watch)
                raise
            sequence, change = self._revision, self._snapshot(key, tree)
        watch.publish(change, number=sequence)

    def unwatch(self, key: str, tree: bool, watch: WatchDelivery[Change]) -> None:
        with self._lock:
            self._forget(key, tree, watch)
            self._wake_timer()

    def _forget(self, key: str, tree: bool, watch: WatchDelivery[Change]) -> None:
        watching = self._watched.get((key, tree), [])
        if watch in watching:
            watching.remove(watch)
        if not watching:
            self._watched.pop((key, tree), None)

    @contextmanager
    def _transaction(self) -> Iterator[set[str]]:
        changed: set[str] = set()
        notifications: list[tuple[WatchDelivery[Change], int, Change]] = []
        try:
            with self._lock:
                try:
                    if self._sessions:
                        time = self._clock()
                        expired = [
                            name for name, it in self._sessions.items() if it.expires_at <= time
                        ]
                        for session in expired:
                            self._end(session, changed)
                    yield changed
                finally:
                    if changed and self._watched:
                        notifications = list(self._notifications(changed))
        finally:
            for watch, sequence, change in notifications:
                watch.publish(change, number=sequence)

    def _notifications(
        self, changed: set[str]
    ) -> Iterator[tuple[WatchDelivery[Change], int, Change]]:
        places = {(key, False) for key in changed}
        for key in changed:
            places.update((key[:end], True) for end, char in enumerate(key) if char == "/")
            places.add(("", True))
        for place in places & self._watched.keys():
            change = self._snapshot(*place)
            for watch in self._watched[place]:
                yield watch, self._revision, change

    def _snapshot(self, key: str, tree: bool) -> Entry | list[Entry] | None:
        return self._subtree(key) if tree else self._entries.get(key)

    def _subtree(self, prefix: str) -> list[Entry]:
        start = f"{prefix}/" if prefix else ""
        return [self._entries[key] for key in sorted(self._entries) if key.startswith(start)]

    def _live_session(self, session: str) -> _Session:
        try:
            return self._sessions[session]
        except KeyError:
            raise SessionLost(f"the session {session} is gone") from None

    def _write(self, key: str, value: bytes, session: str | None, changed: set[str]) -> Entry:
        holder = None if session is None else self._live_session(session)
        current = self._entries.get(key)
        if current is not None:
            self._remove(current)
        self._revision += 1
        entry = self._entries[key] = Entry(key, value, self._revision, session)
        if holder is not None:
            holder.keys.add(key)
        changed.add(key)
        return entry

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        if entry.session is not None:
            self._sessions[entry.session].keys.discard(entry.key)

    def _end(self, session: str, changed: set[str]) -> None:
        ended = self._sessions.pop(session, None)
        if ended is None:
            return
        for key in ended.keys:
            del self._entries[key]
            self._revision += 1
        changed |= ended.keys
        self._wake_timer()

    def _wake_timer(self) -> None:
        self._timer_stale = True
        self._timer_changed.notify_all()

    def _update_timer(self) -> None:
        # With a watch and a session, an expiry must be noticed without any call: by a thread.
        self._wake_timer()
        if self._timer is None and self._watched and self._sessions:
            work = self.time_source.begin_work()
            try:
                self._timer = start_daemon(
                    lambda: self._run_timer(work), "leadership-memory-expiry"
                )
            except NotApplied:
                work.__exit__(None, None, None)
                raise

    def _run_timer(self, work: AbstractContextManager[object]) -> None:
        longest = _LONGEST_WAIT if self.time_source.suspends else inf
        with work:
            while True:
                self._timer_stale = False
                with self._transaction():
                    if not (self._watched and self._sessions):
                        self._timer = None
                        return
                    due = min(session.expires_at for session in self._sessions.values())
                seconds = min(max(due - self._clock(), 0.0), longest)
                self.time_source.wait_for(self._timer_changed, lambda: self._timer_stale, seconds)
