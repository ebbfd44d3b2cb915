"""A session that lives by its ttl alone."""

from __future__ import annotations

from leadership_core.errors import ConfigurationError

from .client import Client

__all__ = ["ConsulSession"]


class ConsulSession:
    """A session of Consul; see `leadership_core.store.Session`."""

    def __init__(self, client: Client, session: str, ttl: float) -> None:
        self._client = client
        self._id = session
        self._ttl = ttl

    @classmethod
    def open(cls, client: Client, ttl: float) -> ConsulSession:
        """Open one; raises `ConfigurationError` if the server refuses the ttl."""
        if not ttl >= 0.001:
            # "0s" would be taken: Consul reads it as a session that never ends.
            raise ConfigurationError(f"a ttl of {ttl!r} seconds is too short")
        return cls(client, client.create_session(ttl, client.options.lock_delay), ttl)

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl(self) -> float:
        return self._ttl

    def renew(self) -> float:
        self._ttl = self._client.renew_session(self._id)
        return self._ttl

    def close(self) -> None:
        self._client.destroy_session(self._id)

    def __repr__(self) -> str:
        return f"<ConsulSession {self._id} ttl={self._ttl:g}>"
