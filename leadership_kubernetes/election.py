"""The election on a Lease, in the record of client-go's `leaderelection`.

The holder renews the Lease with a compare-and-set on its resource version. A candidate takes it over
when it has no holder, or when the candidate has seen the same version for the whole duration that
the Lease names. The token is the resource version of the Lease that the acquiring write replaced: it
is known before, so the write itself puts it into an annotation, where followers read it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from leadership_core.backend import (
    Absent,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    ConfigurationError,
    Leader,
    Leading,
    Session,
    StoreUnavailable,
    Waiting,
    clock,
    half_timeout,
    inert_in_child,
    one_line,
)

from .claim import KubernetesClaim
from .client import Client
from .errors import Conflicted, Missing, is_not_applied
from .lease import Lease
from .names import name_of
from .session import KubernetesSession
from .watch import State, Watcher

__all__ = ["KubernetesElection"]

log: logging.Logger = logging.getLogger(__name__)

_ATTEMPTS = 2  # to find out what has become of a request to acquire


@inert_in_child("enter", "status", "withdraw", "watch_claim", "leader", "watch_leader")
class KubernetesElection:
    """The election of one key; thread-safe. See `leadership_core.backend.Election`.

    Args:
        client: of the store.
        watcher: of the store.
        key: the key, with the prefix.
    """

    def __init__(self, client: Client, watcher: Watcher, key: str) -> None:
        self._client = client
        self._watcher = watcher
        self._key = key
        self._name = name_of(key)
        self._observations = client.observations
        self._free: Lease | None = None  # as `status` has just read it
        self._warned: set[str] = set()
        self._lock = threading.RLock()

    def enter(self, session: Session, value: bytes) -> Claim:
        mine = KubernetesSession.of(session)
        mine.check()
        claim = KubernetesClaim(self._key, session, value)
        # What `status` has just read needs no second read; if it is out of date, nothing is written.
        with self._lock:
            lease, self._free = self._free, None
        if lease is not None and self._acquire(mine, claim, lease):
            return claim
        lease = self._client.read(self._name) or self._created()
        if self._is_free(mine, lease):
            self._acquire(mine, claim, lease)
        return claim

    def status(self, claim: Claim) -> ClaimStatus:
        mine = KubernetesClaim.of(claim)
        session = KubernetesSession.of(mine.session)
        session.check()
        lease = self._client.read(self._name)
        if lease is not None and lease.holder == mine.identity:
            if mine.token is not None and mine.holds(lease):
                return Leading(mine.token)
            # A request whose answer was lost has taken effect, unseen. It is not known since when
            # the Lease is held, so it is not adopted.
            mine.settled = False
            self.withdraw(mine)
            return Absent()
        if mine.token is not None:
            session.drop(mine)  # a renewal must not find that out once more
        if lease is None:
            return Absent()
        if not self._is_free(session, lease):
            return Waiting()
        with self._lock:
            self._free = lease
        return Absent(overwritten=lease.is_entry)

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        mine = KubernetesClaim.of(claim)
        mine.wake = wake

        def on_state(state: State) -> None:
            if isinstance(state.lease, StoreUnavailable):
                return  # the renewals fail, too; the end of the outage wakes the candidate
            lease = state.lease
            if lease is not None and mine.guard is not None and lease.version <= mine.guard:
                return  # from before the claim was made
            leads = mine.token is not None and not mine.withdrawn
            differs = not mine.holds(lease) if leads else lease is None or state.is_free
            if (
                differs
                or state.after_outage
                or (lease is not None and not leads and mine.holds(lease))
            ):
                wake()

        return self._watcher.subscribe(self._name, on_state)

    def withdraw(self, claim: Claim) -> None:
        mine = KubernetesClaim.of(claim)
        if not mine.withdrawn and not (mine.settled and mine.token is None):
            mine.release(self._client)
        KubernetesSession.of(mine.session).drop(mine)

    def clean_up(self) -> None:
        """Delete the Lease if it has no holder and this library has created it.

        With the version with which that was seen, so a claim that takes it meanwhile keeps it. The
        next one is created with a larger version, so tokens grow.
        """
        lease = self._client.read(self._name)
        if lease is None or lease.holder is not None or lease.is_entry or not lease.is_ours:
            return
        with suppress(Conflicted, Missing):  # it is in use again
            self._client.delete(lease)

    def leader(self) -> Leader | None:
        lease = self._client.read(self._name)
        return None if lease is None or self._observations.is_silent(lease) else lease.leader()

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        def on_state(state: State) -> None:
            lease = state.lease
            if isinstance(lease, StoreUnavailable):
                on_change(lease)
            else:
                on_change(None if lease is None or state.is_free else lease.leader())

        return self._watcher.subscribe(self._name, on_state)

    def _created(self) -> Lease:
        """Create the Lease without a holder.

        The version that it gets then is the guard of the request to acquire it: a guard that there is
        no Lease would be met again after the next deletion.
        """
        with suppress(Conflicted):  # another candidate was faster
            return self._client.create(Lease.empty(self._key))
        lease = self._client.read(self._name)
        if lease is None:
            raise StoreUnavailable(f"{self._name!r} was deleted as soon as it was created")
        return lease

    def _is_free(self, session: KubernetesSession, lease: Lease) -> bool:
        if lease.manifest.get("spec", {}).get("strategy"):
            raise ConfigurationError(
                f"the Lease {self._name!r} is one of coordinated leader election (it has a strategy), "
                "whose leader Kubernetes itself appoints: choose another key"
            )
        if lease.is_foreign and lease.duration < session.ttl and lease.holder not in self._warned:
            self._warned.add(str(lease.holder))
            log.warning(
                "the Lease %s is held by %s of another program, whose candidates may replace a leader that has not renewed "
                "it for %g s; the ttl here is %g s: give all candidates the same duration, or those of this library "
                "a shorter one",
                self._name,
                one_line(str(lease.holder)),
                lease.duration,
                session.ttl,
            )
        return self._observations.is_free(lease)

    def _acquire(self, session: KubernetesSession, claim: KubernetesClaim, lease: Lease) -> bool:
        """Write the claim over the Lease as it was; False if it certainly has changed since."""
        claim.guard = lease.version
        wanted = lease.acquired(self._key, claim.identity, claim.value, session.duration)
        session.add(claim)
        # From here on a request may be under way: a session that another thread closes meanwhile
        # sees to it that it finds another version.
        claim.settled = False
        sent, problem = clock.now(), None
        for _ in range(_ATTEMPTS):
            try:
                with half_timeout():
                    written = self._client.update(wanted)
            except Conflicted:
                if problem is None:  # no other request was sent
                    return self._refused(session, claim)
            except StoreUnavailable as error:
                if problem is None and is_not_applied(error):
                    self._refused(session, claim)
                    raise
                problem = error
            else:
                return self._grant(session, claim, written, sent)
            try:
                with half_timeout():
                    found = self._client.read(self._name)
            except StoreUnavailable as error:
                problem = error
                continue
            if found is not None and claim.holds(found):
                return self._grant(session, claim, found, sent)
            if found is None or found.version != claim.guard:
                return self._refused(session, claim)  # it applies to no later version
        raise ClaimOutcomeUnknown(
            f"no answer whether {self._name!r} was acquired: {problem}", claim
        ) from problem

    def _refused(self, session: KubernetesSession, claim: KubernetesClaim) -> bool:
        claim.settled = True
        session.drop(claim)
        return False

    def _grant(
        self, session: KubernetesSession, claim: KubernetesClaim, lease: Lease, sent: float
    ) -> bool:
        """Let the claim lead, by an answer to the request that was sent then.

        From now on each renewal of the session renews it. One that has begun since it was sent does not,
        and moves the deadline of the session all the same: past the moment from which others count.
        So the Lease is written once more then.
        """
        claim.lease, claim.token = lease, claim.guard
        if session.may_be_renewed_since(sent):
            try:
                is_held = claim.renew(self._client, session.duration)
            except StoreUnavailable as error:
                claim.token = None
                raise ClaimOutcomeUnknown(
                    f"{self._name!r} was not renewed: {error}", claim
                ) from error
            if not is_held:
                claim.token = None
                return self._refused(session, claim)
        claim.granted = claim.settled = True
        return True
