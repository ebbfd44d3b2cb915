"""Sessions that end by observation, as entries of a store that can only read and conditionally write.

A session is the entry `.sessions/ID`, which its holder writes over by compare-and-set, with another
heartbeat each time:

    leadership/1 TTL COUNT RANDOM

It is over when the entry is deleted: by its holder, or by a candidate that has read one heartbeat for
the whole TTL, by compare-and-set on that entry. A renewal that arrives later finds no entry to compare.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from typing import Final

from ..errors import ConfigurationError, Conflict, NotApplied, SessionLost, StoreUnavailable
from .clock import Clock
from .deadline import half_timeout, single_timeout
from .entries import ABSENT, Entry
from .fork import inert_in_child
from .heartbeats import Heartbeat, HolderDeadline, ObservedExpiry
from .protocols import Session, StoreBackend
from .time_source import time_source_of
from .validation import check_ttl

__all__ = ["ObservedSessions"]

_RECORD = re.compile(rb"leadership/1 ([0-9.e+-]{1,32}) ([0-9]{1,19}) ([0-9a-f]{1,32})")
_MOST_CONFLICTS = 10  # of one renewal, with earlier ones that arrive late


class ObservedSessions:
    """The sessions of one open store; a `HeartbeatStore`. Thread-safe.

    A backend creates one object, opens its sessions with it, and passes it to its elections:

        self._sessions = ObservedSessions(self)
        def open_session(self, ttl): return self._sessions.open(ttl)
        def election(self, key): return ObservedElection(self, key, self._sessions)

    Reading `n` sessions takes `n` requests.

    Args:
        store: linearizable `get`, conditional `put` and `delete`; nothing else of it is used.
        folder: the key below which the sessions are, normalised, with the store's prefix.
    """

    def __init__(self, store: StoreBackend, folder: str = ".sessions") -> None:
        self._store: Final = store
        self._folder: Final = folder
        self._now: Final = time_source_of(store).clock
        self._all: Final = ObservedExpiry()
        self._has_opened = False

    @single_timeout()
    def open(self, ttl: float) -> Session:
        """Open a session; for `open_session` of a backend.

        Raises:
            ConfigurationError: the ttl is invalid.
            StoreUnavailable: no answer.
        """
        session = _EntrySession(self._store, self._folder, check_ttl(ttl), self._now)
        session.begin()
        self._has_opened = True
        return session

    def read_heartbeats(self, sessions: Collection[str]) -> dict[str, Heartbeat]:
        """Read the present heartbeats; see `HeartbeatStore`."""
        found = {}
        for session in sessions:
            entry = self._store.get(f"{self._folder}/{session}")
            if entry is not None:
                found[session] = _heartbeat(session, entry)
        return found

    def end_session(self, heartbeat: Heartbeat) -> bool:
        """End the session if this is still its heartbeat; see `HeartbeatStore`."""
        entry = heartbeat.known_as
        if not isinstance(entry, Entry):
            raise ConfigurationError(f"not a heartbeat that was read here: {heartbeat!r}")
        try:
            self._store.delete(entry.key, expect=entry)
        except Conflict:
            return False
        return True

    def tidy(self) -> None:
        """End all sessions that this process has seen silent for their ttl, also those that no claim names.

        The observer calls it every minute or two. Without it, each candidate that crashes while it waits would
        leave an entry behind. It needs `list`, and does nothing in a process that opens no sessions.

        Raises:
            StoreUnavailable: no answer.
        """
        if not self._has_opened:
            return
        sent = self._now()
        entries = self._store.list(self._folder)
        answered = self._now()
        for entry in entries:
            session = entry.key.rpartition("/")[2]
            heartbeat = _heartbeat(session, entry)
            self._all.note(heartbeat, sent=sent, answered=answered)
            if self._all.is_silent(session) and self.end_session(heartbeat):
                self._all.forget(session)


@inert_in_child("renew", "close")
class _EntrySession:
    """One session; one thread at a time renews and closes it."""

    def __init__(self, store: StoreBackend, folder: str, ttl: float, now: Clock) -> None:
        self.id: Final = uuid.uuid4().hex
        self.ttl: Final = ttl
        self._store = store
        self._key = f"{folder}/{self.id}"
        self._now = now
        self._count = 0
        self._entry: Entry | None = None  # as it was written last; None if that is not known
        self._deadline = HolderDeadline(ttl, now, now())
        self._closed = False

    @property
    def overdue(self) -> bool:
        """Whether it was not renewed for its ttl, by this clock, or is closed."""
        return self._closed or self._deadline.passed

    def begin(self) -> None:
        self._entry = self._write(None)

    @single_timeout()
    def renew(self) -> float:
        if self.overdue:
            self.close()  # it may be alive at the store, and must not be found alive by others from now on
            raise SessionLost(f"the session {self.id} was not renewed within {self.ttl:g} s")
        sent = self._now()
        for _ in range(_MOST_CONFLICTS):
            known, self._entry = self._entry, None
            try:
                self._entry = self._write(known or self._read())
            except Conflict:
                continue  # another renewal of this session has arrived late, or it was ended
            self._deadline.acknowledge(sent)
            return self.ttl
        raise StoreUnavailable(f"{self._key} changes after every read")

    def close(self) -> None:
        self._closed = True
        self._entry = None
        self._store.delete(self._key)

    def _read(self) -> Entry:
        entry = self._store.get(self._key)
        if entry is None:
            raise SessionLost(f"the session {self.id} was ended")
        return entry

    def _write(self, known: Entry | None) -> Entry:
        """Write the next heartbeat over the known one; if the answer is lost, read the outcome."""
        self._count += 1
        record = f"leadership/1 {self.ttl!r} {self._count} {uuid.uuid4().hex}".encode()
        try:
            with half_timeout():
                return self._store.put(self._key, record, expect=ABSENT if known is None else known)
        except (Conflict, SessionLost, NotApplied):
            raise
        except Exception as error:
            found = self._read_back(error)
            if found is None and known is not None:
                raise SessionLost(f"the session {self.id} was ended") from error
            if found is None or found.value != record:  # it may still arrive
                raise StoreUnavailable(f"no answer to a heartbeat: {error}") from error
            return found

    def _read_back(self, error: Exception) -> Entry | None:
        try:
            return self._store.get(self._key)
        except Exception:  # noqa: BLE001 - the first error is reported
            raise StoreUnavailable(f"no answer to a heartbeat: {error}") from error


def _heartbeat(session: str, entry: Entry) -> Heartbeat:
    parts = _RECORD.fullmatch(entry.value)
    ttl = 0.0  # for one that cannot be read: `bounded_ttl` replaces it, and a warning is logged
    if parts is not None:
        try:
            ttl = float(parts[1])
        except ValueError:
            parts = None
    beat = (entry.revision, entry.value) if parts is None else (int(parts[2]), parts[3])
    return Heartbeat(session, ttl, beat, known_as=entry)
