"""A session is a lease."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from leadership_core.budget import shared_budget
from leadership_core.errors import (
    ConfigurationError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from leadership_core.fork import inert_in_child

from .client import Client, Lane
from .messages import read
from .methods import GRANT, KEEP_ALIVE, RANGE, REVOKE

__all__ = ["CONFIRMATION", "EtcdSession"]

CONFIRMATION = read(b"\0", limit=1, keys_only=True)
"""Of no key that there is; etcd's leader asks the others whether it still leads, all the same."""


@inert_in_child("renew", "close")
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

    @shared_budget()
    def renew(self) -> float:
        # A leader of the servers that was paused goes on as one for a moment. Older releases (seen
        # with 3.4.23) acknowledge a renewal then, while another leader has counted the lease since
        # before that. So a read that a majority has to confirm follows: where it finds the term of
        # raft that the renewal found, nobody else can have led in between.
        renewed = self._keep_alive()
        try:
            term = self._client.call(RANGE, CONFIRMATION, lane=Lane.RENEWALS).header.raft_term
        except StoreRefused:
            # A user who may not read it is told so after it was confirmed, and not which term it is.
            term = self._keep_alive().header.raft_term
        if term != renewed.header.raft_term:
            raise StoreUnavailable("the servers of etcd have just elected another leader")
        self._ttl = float(renewed.TTL)
        return self._ttl

    def _keep_alive(self) -> Any:
        request = KEEP_ALIVE.request(ID=self.lease)
        renewed = self._client.call(KEEP_ALIVE, request, lane=Lane.RENEWALS)
        if renewed.TTL <= 0:
            raise SessionLost("etcd has ended the lease")
        return renewed

    def close(self) -> None:
        with contextlib.suppress(SessionLost):  # that is what is asked for
            self._client.call(REVOKE, REVOKE.request(ID=self.lease), lane=Lane.RELEASES)

    def __repr__(self) -> str:
        return f"<EtcdSession {self.id} ttl={self._ttl:g}>"
