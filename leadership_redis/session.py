"""Sessions: records that their holders renew, and that others end after observing them for the ttl.

No key in Redis expires by itself. The entries of a session end by the server's clock, as the record
of the session says; the session itself, and with it the claims of elections, does not: see
`leadership_core.backend.HeartbeatStore`.
"""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Callable, Collection

from leadership_core.backend import (
    ConfigurationError,
    Heartbeat,
    HolderDeadline,
    Session,
    SessionLost,
    StoreUnavailable,
    clock,
    inert_in_child,
    single_timeout,
)

from .client import Client
from .errors import unknown_answer

__all__ = ["RedisSession", "Sessions", "heartbeat_of"]

_LONGEST_TTL = 1e9  # seconds


@inert_in_child("renew", "close")
class RedisSession:
    """A session; thread-safe. See `leadership_core.backend.Session`.

    Args:
        client: of the store.
        ttl: seconds.
        on_renewed: called after each renewal, in the same thread.
    """

    def __init__(
        self, client: Client, ttl: float, on_renewed: Callable[[], object] = lambda: None
    ) -> None:
        self._client = client
        self._on_renewed = on_renewed
        self._id = uuid.uuid4().hex
        self._ttl = ttl
        self._deadline = HolderDeadline(ttl, clock.now, clock.now())
        self._over = False

    @classmethod
    def of(cls, session: Session) -> RedisSession:
        """Return the session; raises `ConfigurationError` if it is not one of Redis's."""
        if not isinstance(session, cls):
            raise ConfigurationError(f"not a session of a Redis store: {session!r}")
        return session

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl(self) -> float:
        return self._ttl

    @property
    def overdue(self) -> bool:
        """Whether it was not renewed for its ttl, by this clock, or is lost or closed."""
        return self._over or self._deadline.passed

    def begin(self) -> None:
        """Write its record; raises `StoreUnavailable` if that may have failed."""
        # Rounded up: it must not end early.
        answer = self._client.call("open", self._id, math.ceil(self._ttl * 1000), _nonce())
        if answer != [b"ok"]:
            raise unknown_answer("Redis", answer)

    @single_timeout()
    def renew(self) -> float:
        if self.overdue:
            self.close()  # it may be alive at the server, and must not be found alive from now on
            raise SessionLost(f"the session {self._id} was not renewed within {self._ttl:g} s")
        sent = clock.now()
        answer = self._client.call("renew", self._id, _nonce())
        if answer == [b"session"]:
            self._over = True
            raise SessionLost(f"the session {self._id} has ended")
        if answer != [b"ok"]:
            raise unknown_answer("Redis", answer)
        self._deadline.acknowledge(sent)
        self._on_renewed()
        return self._ttl

    def close(self) -> None:
        self._over = True
        self._client.call("end", self._id)

    def __repr__(self) -> str:
        return f"<RedisSession {self._id} ttl={self._ttl:g}>"


class Sessions:
    """All sessions of the keys of a store, those of other processes, too; a `HeartbeatStore`.

    Args:
        client: of the store.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def open(self, ttl: float, on_renewed: Callable[[], object] = lambda: None) -> RedisSession:
        """Open a session; blocks for `remaining_timeout` at most.

        Args:
            ttl: seconds.
            on_renewed: called after each renewal, in the same thread.

        Raises:
            ConfigurationError: the ttl is no number of seconds.
            StoreUnavailable: no answer; a record that was written all the same is never renewed.
        """
        if not (math.isfinite(ttl) and 0 < ttl < _LONGEST_TTL):
            raise ConfigurationError(f"the ttl must be a number of seconds above 0, not {ttl!r}")
        session = RedisSession(self._client, float(ttl), on_renewed)
        session.begin()
        return session

    def read_heartbeats(self, sessions: Collection[str]) -> dict[str, Heartbeat]:
        """Read the present heartbeats, in one request."""
        ids = list(sessions)
        answer = self._client.call("heartbeats", *ids)
        if not isinstance(answer, list) or len(answer) != len(ids):
            raise unknown_answer("Redis", answer)
        return {
            session: heartbeat_of(session, record)
            for session, record in zip(ids, answer, strict=True)
            if record
        }

    def end_session(self, heartbeat: Heartbeat) -> bool:
        """End the session if this is still its heartbeat."""
        match self._client.call("end", heartbeat.session, str(heartbeat.beat)):
            case [b"ok"]:
                return True
            case [b"renewed"]:
                return False
            case answer:
                raise unknown_answer("Redis", answer)


def heartbeat_of(session: str, record: bytes) -> Heartbeat:
    """The heartbeat in a record of `script.lua`; raises `StoreUnavailable` if it is no such record."""
    parts = record.decode("utf-8", "replace").split(" ")
    try:
        ttl, count, nonce, _ = parts
        return Heartbeat(session, int(ttl) / 1000, f"{count} {nonce}")
    except ValueError:
        raise StoreUnavailable(
            f"the record of the session {session} was overwritten by another program"
        ) from None


def _nonce() -> str:
    """A part of a heartbeat that no other attempt has: a lost answer never looks like no renewal."""
    return secrets.token_hex(8)
