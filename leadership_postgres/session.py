"""Session: a row that its holder renews with heartbeats.

It ends in two ways. For *elections*, it is over when its row is deleted: by its holder, or by an observer that
has read the same heartbeat for the whole ttl by its own clock. Its *entries*, if it has ever had any, expire by
the server's clock: then `renew` raises `SessionLost`, and for elections the session is not over until its holder closes it or an
observer has observed the ttl. So a clock that is set ahead lets no other candidate be elected early.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Collection

from leadership_core.backend import (
    ConfigurationError,
    Heartbeat,
    HolderDeadline,
    ObservedExpiry,
    Session,
    SessionLost,
    clock,
    inert_in_child,
    is_finite_number,
    single_timeout,
)

from .client import Client

__all__ = ["Heartbeats", "PostgresSession"]

_LONGEST = 10 * 365 * 86_400.0  # seconds; the server adds it to a timestamp
_SWEEP_INTERVAL = 60.0  # seconds between two searches for rows of crashed processes
_MOST_SWEPT = 100  # rows at a time


@inert_in_child("renew", "close")
class PostgresSession:
    """A row of the table of sessions; see `leadership_core.backend.protocols.Session`.

    Args:
        client: of the store.
        session_id: the key of its row.
        ttl: seconds.
        beat: its first heartbeat.
        opened_at: when the request that opened it was sent, on `clock.now`.
    """

    def __init__(
        self, client: Client, session_id: str, ttl: float, beat: str, opened_at: float
    ) -> None:
        self._client = client
        self._id, self._ttl = session_id, ttl
        # Those that the row may hold: the last one that was confirmed, and all that had no answer since.
        self._beats = [beat]
        self._count = 0
        self._deadline = HolderDeadline(ttl, clock.now, opened_at)
        self._lost = ""
        self._lock = threading.RLock()

    @classmethod
    def open(cls, client: Client, ttl: float) -> PostgresSession:
        """Open a session.

        Args:
            client: of the store.
            ttl: seconds.

        Raises:
            ConfigurationError: the ttl is not possible.
            StoreUnavailable: no answer; a row that was inserted all the same is removed by others later.
        """
        if not is_finite_number(ttl) or not 0 < ttl <= _LONGEST:
            raise ConfigurationError(f"a ttl of {ttl!r} seconds is not possible")
        session_id, beat, sent = secrets.token_hex(16), _nonce(0), clock.now()
        client.open_session(session_id, float(ttl), beat)
        return cls(client, session_id, float(ttl), beat, sent)

    @classmethod
    def of(cls, session: Session) -> PostgresSession:
        """The session as this class; raises `ConfigurationError` for one of another store."""
        if not isinstance(session, cls):
            raise ConfigurationError(
                f"the session must come from open_session() of this store, not {type(session).__name__}"
            )
        return session

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl(self) -> float:
        return self._ttl

    @property
    def overdue(self) -> bool:
        """Whether it was not renewed for its ttl, by this clock, or has ended."""
        return bool(self._lost) or self._deadline.passed

    @single_timeout()
    def renew(self) -> float:
        sent = clock.now()
        if not self._lost and self._deadline.passed:
            # Others may have ended it or be about to. It must not be found alive from now on.
            self._lost = f"the session was not renewed for its ttl of {self._ttl:g} s"
            self._client.end_session(self._id, None)
        with self._lock:
            if self._lost:
                raise SessionLost(self._lost)
            self._count += 1
            beat, expected = _nonce(self._count), tuple(self._beats)
            # Before it is sent: if there is no answer, the row may hold it.
            self._beats.append(beat)
        found = self._client.renew_session(self._id, expected, beat)
        with self._lock:
            if found == "renewed":
                self._deadline.acknowledge(sent)
                if beat in self._beats:
                    del self._beats[: self._beats.index(beat)]
                return self._ttl
            if found == "expired":
                self._lost = "the entries of the session have ended by the server's clock"
            elif found == "ended":
                self._lost = "the session has ended"
            else:
                # Also the answer if two renewals of this session run at once; the engine sends one at a time.
                self._lost = (
                    "another heartbeat is in the row of the session: PostgreSQL has lost data"
                )
            raise SessionLost(self._lost)

    def close(self) -> None:
        self._client.end_session(self._id, None)
        with self._lock:
            self._lost = self._lost or "the session was closed"

    def __repr__(self) -> str:
        return f"<PostgresSession {self._id} ttl={self._ttl:g}>"


class Heartbeats:
    """The heartbeats of all sessions; thread-safe. See `leadership_core.backend.HeartbeatStore`.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._expiry = ObservedExpiry()
        self._swept = -math.inf

    def read_heartbeats(self, sessions: Collection[str]) -> dict[str, Heartbeat]:
        found = self._client.read_sessions(sessions)
        return {one: Heartbeat(one, ttl, beat) for one, (ttl, beat) in found.items()}

    def end_session(self, heartbeat: Heartbeat) -> bool:
        return self._client.end_session(heartbeat.session, str(heartbeat.beat))

    def sweep(self) -> None:
        """End the sessions of crashed processes that no claim names.

        The server's clock only selects the candidates for removal. A session is ended after this process has observed it
        for its ttl, like every other session.
        """
        now = clock.now()
        if now - self._swept < _SWEEP_INTERVAL:
            return
        self._swept = now
        found = self._client.read_silent(_MOST_SWEPT)
        answered = clock.now()
        for one, (ttl, beat) in found.items():
            self._expiry.note(Heartbeat(one, ttl, beat), sent=now, answered=answered)
            heartbeat = self._expiry.heartbeat(one)
            if heartbeat is not None and self._expiry.may_end(one, clock.now()):
                self.end_session(heartbeat)
                self._expiry.forget(one)


def _nonce(count: int) -> str:
    # The number is for people who look into the table; the rest makes each attempt unlike any other.
    return f"{count}:{secrets.token_hex(8)}"
