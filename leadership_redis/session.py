"""Sessions: records that their holders renew, and that others end after observing them for the ttl.

No key in Redis expires by itself. The entries of a session end by the server's clock, as the record
of the session says; the session itself, and with it the claims of elections, does not.
"""

from __future__ import annotations

import math
import secrets
import uuid

from leadership_core.backend import (
    ConfigurationError,
    Session,
    SessionLost,
    inert_in_child,
)

from .client import Client
from .errors import unknown_answer

__all__ = ["RedisSession", "new_nonce"]

_LONGEST_TTL = 1e9  # seconds


@inert_in_child("renew", "close")
class RedisSession:
    """A session; thread-safe. See `leadership_core.backend.Session`.

    Args:
        client: of the store.
        ttl: seconds.
    """

    def __init__(self, client: Client, ttl: float) -> None:
        self._client = client
        self._id = uuid.uuid4().hex
        self._ttl = ttl

    @classmethod
    def open(cls, client: Client, ttl: float) -> RedisSession:
        """Open a session; blocks for `remaining_timeout` at most.

        Raises:
            ConfigurationError: the ttl is no number of seconds.
            StoreUnavailable: no answer; a record that was written all the same is never renewed.
        """
        if not (math.isfinite(ttl) and 0 < ttl < _LONGEST_TTL):
            raise ConfigurationError(f"the ttl must be a number of seconds above 0, not {ttl!r}")
        session = cls(client, float(ttl))
        # Rounded up: it must not end early.
        client.call("open", session.id, math.ceil(ttl * 1000), new_nonce())
        return session

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

    def renew(self) -> float:
        answer = self._client.call("renew", self._id, new_nonce())
        if answer == [b"session"]:
            raise SessionLost(f"the session {self._id} has ended")
        if answer != [b"ok"]:
            raise unknown_answer("Redis", answer)
        return self._ttl

    def close(self) -> None:
        self._client.call("end", self._id)

    def __repr__(self) -> str:
        return f"<RedisSession {self._id} ttl={self._ttl:g}>"


def new_nonce() -> str:
    """A part of a heartbeat that no other attempt has: a lost answer never looks like no renewal."""
    return secrets.token_hex(8)
