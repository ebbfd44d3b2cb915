"""Removal of sessions that no process renews and no claim names: those of processes that have crashed."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock

from leadership_core.backend import (
    Heartbeat,
    StoreUnavailable,
    call_timeout,
    clock,
    remaining_timeout,
)

from .client import Client
from .session import Sessions, heartbeat_of

__all__ = ["Sweeper"]

_INTERVAL = 300.0  # seconds between two reads of some of the sessions
_LEAST_SILENCE = 600.0  # seconds, and two ttl at the least
_SECONDS = 1.0  # for which a read may delay the renewal that it follows
_MOST_KNOWN = 10_000


class Sweeper:
    """Reads some sessions every five minutes, and ends those that stay unchanged; thread-safe.

    The time without a change is measured by this process's own clock, as in an election, but for ten minutes or more.

    Args:
        client: of the store.
        sessions: of the store.
    """

    def __init__(self, client: Client, sessions: Sessions) -> None:
        self._client = client
        self._sessions = sessions
        self._lock = Lock()
        self._due = clock.now() + _INTERVAL
        self._cursor = "0"
        self._seen: dict[str, tuple[Heartbeat, float]] = {}  # and when it was first answered

    def run_if_due(self) -> None:
        """Read some sessions if the last read is five minutes ago; raises nothing, and blocks for a second at most."""
        if clock.now() < self._due or remaining_timeout() < 2 * _SECONDS:
            return
        if not self._lock.acquire(blocking=False):
            return  # another thread does, or a signal handler has interrupted it
        try:
            self._due = clock.now() + _INTERVAL
            with suppress(StoreUnavailable), call_timeout(_SECONDS):
                self.look()
        finally:
            self._lock.release()

    def look(self) -> None:
        """Read some sessions, and end those that have not changed for ten minutes; raises StoreUnavailable."""
        cursor, rows = self._client.call("sessions", self._cursor)
        answered = clock.now()
        self._cursor = cursor.decode()
        for session, record in zip(rows[::2], rows[1::2], strict=True):
            try:
                heartbeat = heartbeat_of(session.decode(), record)
            except (StoreUnavailable, UnicodeDecodeError):
                continue
            known, since = self._seen.get(heartbeat.session, (None, answered))
            if known != heartbeat:
                while len(self._seen) >= _MOST_KNOWN:
                    self._seen.pop(next(iter(self._seen)))
                self._seen[heartbeat.session] = heartbeat, answered
            elif clock.now() - since > max(_LEAST_SILENCE, 2 * heartbeat.ttl):
                self._sessions.end_session(heartbeat)
                self._seen.pop(heartbeat.session, None)
