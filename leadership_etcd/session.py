"""Session: an etcd lease.

See https://etcd.io/docs/v3.5/learning/api/#lease-api
"""

from __future__ import annotations

import contextlib
import math

from leadership_core.backend import (
    ConfigurationError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
    inert_in_child,
    single_timeout,
)

from .client import Client, TrafficClass
from .rpc import GRANT, KEEP_ALIVE, RANGE, REVOKE, LeaseResult, range_request

__all__ = ["QUORUM_READ", "EtcdSession"]

QUORUM_READ = range_request(b"\0", limit=1, keys_only=True)
"""A linearizable read of a key that does not exist: etcd's leader confirms with a majority that it
still leads before it answers (https://etcd.io/docs/v3.5/learning/api_guarantees/)."""


@inert_in_child("renew", "close")
class EtcdSession:
    """A lease of etcd; see `leadership_core.backend.protocols.Session`.

    Args:
        client: of the store.
        lease: its id.
        granted_ttl: seconds.
    """

    def __init__(self, client: Client, lease: int, granted_ttl: float) -> None:
        self._client = client
        self._granted_ttl = granted_ttl
        self.lease = lease

    @classmethod
    def open(cls, client: Client, requested_ttl: float) -> EtcdSession:
        """Open a session; etcd counts whole seconds, and raises a ttl that it finds too short.

        Args:
            client: of the store.
            requested_ttl: seconds, rounded up.

        Raises:
            ConfigurationError: the ttl is not possible.
            StoreUnavailable: etcd gives no answer.
        """
        if not 0 < requested_ttl < math.inf:
            raise ConfigurationError(f"a ttl of {requested_ttl!r} seconds is not possible")
        seconds = math.ceil(requested_ttl)
        if seconds >= 1 << 63:
            raise ConfigurationError(f"a ttl of {requested_ttl:g} seconds is too long")
        granted = client.call(GRANT, GRANT.request(TTL=seconds), traffic=TrafficClass.RENEWALS)
        return cls(client, granted.lease, float(granted.ttl))

    @property
    def id(self) -> str:
        return f"{self.lease:x}"

    @property
    def ttl(self) -> float:
        return self._granted_ttl

    @single_timeout()
    def renew(self) -> float:
        # A leader of etcd's members that was paused acts as leader for a moment afterwards. Older
        # releases (seen with 3.4.23) acknowledge a renewal then, while another leader has counted
        # the lease since before that. So a read that a majority has to confirm follows: if it finds
        # the raft term of the renewal, no other member can have been leader in between.
        renewed = self._keep_alive()
        try:
            confirmed = self._client.call(RANGE, QUORUM_READ, traffic=TrafficClass.RENEWALS)
            term = confirmed.raft_term
        except StoreRefused:
            # A user without the permission is refused after the confirmation, without the term.
            term = self._keep_alive().raft_term
        if term != renewed.raft_term:
            raise StoreUnavailable("the members of etcd have just elected another leader")
        self._granted_ttl = float(renewed.ttl)
        return self._granted_ttl

    def _keep_alive(self) -> LeaseResult:
        request = KEEP_ALIVE.request(ID=self.lease)
        renewed = self._client.call(KEEP_ALIVE, request, traffic=TrafficClass.RENEWALS)
        if renewed.ttl <= 0:
            raise SessionLost("etcd has ended the lease")
        return renewed

    def close(self) -> None:
        request = REVOKE.request(ID=self.lease)
        with contextlib.suppress(SessionLost):  # which is the aim
            self._client.call(REVOKE, request, traffic=TrafficClass.RELEASES)

    def __repr__(self) -> str:
        return f"<EtcdSession {self.id} ttl={self._granted_ttl:g}>"
