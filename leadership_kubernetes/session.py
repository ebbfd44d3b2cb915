"""A session: the Leases that its claims hold, renewed one by one and together."""

from __future__ import annotations

import contextlib
import math
import threading
import uuid

from leadership_core.backend import (
    ConfigurationError,
    LeadershipError,
    Session,
    SessionLost,
    clock,
    inert_in_child,
)

from .claim import KubernetesClaim
from .client import Client
from .parallel import in_parallel

__all__ = ["KubernetesSession"]

_LONGEST = 2**31 - 1  # seconds; a Lease keeps its duration in 32 bits


@inert_in_child("renew", "close")
class KubernetesSession:
    """A session; thread-safe. See `leadership_core.backend.Session`.

    Kubernetes has no sessions: the Lease of each election is renewed by a write of its own. The
    engine moves one deadline for all claims, so a renewal succeeds only if all of them were renewed;
    a claim that another program has taken away ends the session.

    The session ends by itself once its ttl has passed since the last renewal that was answered was
    sent, by the clock of this process: others may have taken the Leases over from then on.

    Args:
        client: of the store.
        ttl: seconds.
        begun: when the request was sent that it begins with, on `clock.now`.
    """

    def __init__(self, client: Client, ttl: int, begun: float) -> None:
        self._client = client
        self._id = str(uuid.uuid4())
        self._ttl = ttl
        self._renewed_at = self._renewal_began_at = begun
        self._lock = threading.RLock()  # reentrant: a signal handler may close it
        self._claims: dict[KubernetesClaim, None] = {}
        self._over = ""  # the reason

    @classmethod
    def open(cls, client: Client, ttl: float) -> KubernetesSession:
        """Open a session; blocks for `remaining_timeout` at most.

        Args:
            client: of the store.
            ttl: seconds; a Lease keeps whole ones, so it is rounded up.

        Raises:
            ConfigurationError: no Lease can have this ttl.
            StoreUnavailable: no answer.
        """
        if not 0 < ttl <= _LONGEST:
            raise ConfigurationError(
                f"a ttl of {ttl!r} seconds: a Lease of Kubernetes has 1 to {_LONGEST} whole seconds"
            )
        begun = clock.now()
        session = cls(client, math.ceil(ttl), begun)
        client.ask(session.ping_name)
        return session

    @classmethod
    def of(cls, session: Session) -> KubernetesSession:
        """Return the session; raises `ConfigurationError` if it is not one of Kubernetes."""
        if not isinstance(session, cls):
            raise ConfigurationError(f"not a session of a Kubernetes store: {session!r}")
        return session

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl(self) -> float:
        return float(self._ttl)

    @property
    def duration(self) -> int:
        """The `leaseDurationSeconds` of its Leases."""
        return self._ttl

    @property
    def ping_name(self) -> str:
        """A name that no Lease has: a session without claims reads that to be renewed."""
        return f"leadership-session-{self._id}"

    def renew(self) -> float:
        self.check()
        with self._lock:
            sent = self._renewal_began_at = clock.now()
            claims = [
                claim for claim in self._claims if claim.token is not None and not claim.leaving
            ]
        if claims:
            self._renew(claims)
        else:
            self._client.ask(self.ping_name)
        self.check()
        self._renewed_at = sent
        return self.ttl

    def _renew(self, claims: list[KubernetesClaim]) -> None:
        lost = list[KubernetesClaim]()

        def renew(claim: KubernetesClaim) -> None:
            if not claim.renew(self._client, self._ttl):
                lost.append(claim)

        errors = in_parallel(renew, claims)
        for claim in lost:
            # A claim that the candidate has left meanwhile was not taken away.
            if claim in self._claims and not claim.leaving:
                claim.wake()
                self._end(f"the Lease {claim.name!r} was taken over or deleted")
                with contextlib.suppress(LeadershipError):
                    self.close()  # other candidates need not wait for the ttl
                self.check()
        for error in errors:
            raise error

    def check(self) -> None:
        """Raise SessionLost if it has ended."""
        if not self._over and clock.now() - self._renewed_at > self._ttl:
            self._end(f"it was not renewed for its ttl of {self._ttl} s")
        if self._over:
            raise SessionLost(f"the session has ended: {self._over}")

    def may_be_renewed_since(self, sent: float) -> bool:
        """Whether a renewal has begun since then, which may not know of a claim that was sent then."""
        with self._lock:
            return self._renewal_began_at >= sent

    def add(self, claim: KubernetesClaim) -> None:
        """Note a claim that is about to be made; raises SessionLost if the session has ended."""
        with self._lock:
            self.check()
            self._claims[claim] = None

    def drop(self, claim: KubernetesClaim) -> None:
        """Note that nothing of the claim is left, or that it has lost its Lease."""
        with self._lock:
            self._claims.pop(claim, None)

    def close(self) -> None:
        self._end("it was closed")
        with self._lock:
            claims = list(self._claims)

        def release(claim: KubernetesClaim) -> None:
            claim.release(self._client)
            self.drop(claim)

        errors = in_parallel(release, claims)
        for error in errors:
            raise error

    def _end(self, reason: str) -> None:
        with self._lock:
            self._over = self._over or reason

    def __repr__(self) -> str:
        return f"<KubernetesSession {self._id} ttl={self._ttl}>"
