"""What the stores of one name share: entries, sessions, subscriptions, and who is told what.

Everything happens in a step: one lock, first what has expired goes, then the work, and when
the lock is free again those are told whose entries changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ..clock import Clock, now
from ..errors import NotDone, SessionLost
from ..guards import check_expected, check_fence
from ..store import Change, Entry, Expected
from ..subscription import Subscription
from ..threads import start_daemon

__all__ = ["State"]

# A wait of a thread does not count the time that the machine is suspended, sessions do.
_LONGEST_WAIT = 1.0


@dataclass(slots=True)
class _Session:
    ttl: float
    expires_at: float
    keys: set[str] = field(default_factory=set)


class State:
    """A key-value store with sessions that end by the clock; thread-safe.

    Args:
        clock: seconds; what sessions are measured with.
    """

    def __init__(self, clock: Clock = now) -> None:
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._revision = 0
        self._entries: Final[dict[str, Entry]] = {}
        self._sessions: Final[dict[str, _Session]] = {}
        self._watched: Final[dict[tuple[str, bool], list[Subscription]]] = {}
        self._timer: threading.Thread | None = None
        self._reconsider: Final = threading.Event()

    def get(self, key: str) -> Entry | None:
        with self._step():
            return self._entries.get(key)

    def below(self, prefix: str) -> list[Entry]:
        with self._step():
            return self._below(prefix)

    def put(
        self,
        key: str,
        value: bytes,
        expect: Expected,
        session: str | None,
        fence: tuple[str, int] | None,
    ) -> Entry:
        with self._step() as changed:
            current = self._entries.get(key)
            if fence is not None:
                check_fence(fence, self._entries.get(fence[0]))
            check_expected(key, current, expect)
            holder = None if session is None else self._alive(session)
            if current is not None:
                self._remove(current)
            self._revision += 1
            entry = self._entries[key] = Entry(key, value, self._revision, session)
            if holder is not None:
                holder.keys.add(key)
            changed.add(key)
            return entry

    def delete(self, key: str, expect: Expected) -> bool:
        with self._step() as changed:
            current = self._entries.get(key)
            if current is None:
                return False
            check_expected(key, current, expect)
            self._remove(current)
            self._revision += 1
            changed.add(key)
            return True

    def delete_below(self, prefix: str) -> int:
        with self._step() as changed:
            found = self._below(prefix)
            for entry in found:
                self._remove(entry)
                self._revision += 1
                changed.add(entry.key)
            return len(found)

    def open_session(self, session: str, ttl: float) -> None:
        with self._step():
            self._sessions[session] = _Session(ttl, self._clock() + ttl)
            try:
                self._keep_time()
            except NotDone:
                del self._sessions[session]
                raise

    def renew(self, session: str) -> float:
        with self._step():
            found = self._alive(session)
            found.expires_at = self._clock() + found.ttl
            return found.ttl

    def close_session(self, session: str) -> None:
        with self._step() as changed:
            self._end(session, changed)

    def watch(self, key: str, tree: bool, subscription: Subscription) -> None:
        with self._step():
            self._watched.setdefault((key, tree), []).append(subscription)
            try:
                self._keep_time()
            except NotDone:
                self._forget(key, tree, subscription)
                raise
            sequence, change = self._revision, self._now_at(key, tree)
        subscription.offer(sequence, change)

    def unwatch(self, key: str, tree: bool, subscription: Subscription) -> None:
        with self._lock:
            self._forget(key, tree, subscription)
            self._reconsider.set()

    def _forget(self, key: str, tree: bool, subscription: Subscription) -> None:
        watching = self._watched.get((key, tree), [])
        if subscription in watching:
            watching.remove(subscription)
        if not watching:
            self._watched.pop((key, tree), None)

    @contextmanager
    def _step(self) -> Iterator[set[str]]:
        changed: set[str] = set()
        told: list[tuple[Subscription, int, Change]] = []
        try:
            with self._lock:
                try:
                    self._expire(changed)
                    yield changed
                finally:
                    if changed and self._watched:
                        told = list(self._tidings(changed))
        finally:
            for subscription, sequence, change in told:
                subscription.offer(sequence, change)

    def _tidings(self, changed: set[str]) -> Iterator[tuple[Subscription, int, Change]]:
        places = {(key, False) for key in changed}
        for key in changed:
            places.update((key[:end], True) for end, char in enumerate(key) if char == "/")
            places.add(("", True))
        for place in places & self._watched.keys():
            change = self._now_at(*place)
            for subscription in self._watched[place]:
                yield subscription, self._revision, change

    def _now_at(self, key: str, tree: bool) -> Entry | list[Entry] | None:
        return self._below(key) if tree else self._entries.get(key)

    def _below(self, prefix: str) -> list[Entry]:
        start = f"{prefix}/" if prefix else ""
        return [self._entries[key] for key in sorted(self._entries) if key.startswith(start)]

    def _alive(self, session: str) -> _Session:
        try:
            return self._sessions[session]
        except KeyError:
            raise SessionLost(f"the session {session} is gone") from None

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        if entry.session is not None:
            self._sessions[entry.session].keys.discard(entry.key)

    def _expire(self, changed: set[str]) -> None:
        if not self._sessions:
            return
        now = self._clock()
        expired = [name for name, it in self._sessions.items() if it.expires_at <= now]
        for session in expired:
            self._end(session, changed)

    def _end(self, session: str, changed: set[str]) -> None:
        ended = self._sessions.pop(session, None)
        if ended is None:
            return
        for key in ended.keys:
            del self._entries[key]
            self._revision += 1
        changed |= ended.keys
        self._reconsider.set()

    def _keep_time(self) -> None:
        # Somebody watches and a session can expire: without a thread nobody would notice.
        self._reconsider.set()
        if self._timer is None and self._watched and self._sessions:
            self._timer = start_daemon(self._tell_expiries, "leadership-memory-expiry")

    def _tell_expiries(self) -> None:
        while True:
            self._reconsider.clear()
            with self._step():
                if not (self._watched and self._sessions):
                    self._timer = None
                    return
                due = min(session.expires_at for session in self._sessions.values())
            self._reconsider.wait(min(max(due - self._clock(), 0.0), _LONGEST_WAIT))
