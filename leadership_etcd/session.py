"""A session is a lease."""

from __future__ import annotations

import contextlib
import math

from leadership_core.errors import ConfigurationError, SessionLost

from .client import Client, Lane
from .methods import GRANT, KEEP_ALIVE, REVOKE

__all__ = ["EtcdSession"]


class EtcdSession:
    """A lease of etcd; see `leadership_core.store.Session`."""

    def __init__(self, client: Client, lease: int, ttl: float) -> None:
        self._client = client
        self._ttl = ttl
        self.lease = lease

    @classmethod
    def open(cls, client: Client, ttl: float) -> EtcdSession:
        """Open one; etcd counts in whole seconds, and raises what it finds too short."""
        if not 0 < ttl < math.inf:
            raise ConfigurationError(f"a ttl of {ttl!r} seconds is not possible")
        seconds = math.ceil(ttl)
        if seconds >= 1 << 63:
            raise ConfigurationError(f"a ttl of {ttl:g} seconds is too long")
        granted = client.call(GRANT, GRANT.request(TTL=seconds), lane=Lane.RENEWALS)
        return cls(client, granted.ID, float(granted.TTL))

    @property
    def id(self) -> str:
        return f"{self.lease:x}"

    @property
    def ttl(self) -> float:
        return self._ttl

    def renew(self) -> float:
        request = KEEP_ALIVE.request(ID=self.lease)
        left = self._client.call(KEEP_ALIVE, request, lane=Lane.RENEWALS).TTL
        if left <= 0:
            raise SessionLost("etcd has ended the lease")
        self._ttl = float(left)
        return self._ttl

    def close(self) -> None:
        with contextlib.suppress(SessionLost):  # that is what is asked for
            self._client.call(REVOKE, REVOKE.request(ID=self.lease), lane=Lane.RELEASES)

    def __repr__(self) -> str:
        return f"<EtcdSession {self.id} ttl={self._ttl:g}>"
