"""The Lease as other programs see it, and writes that are refused because it has changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leadership_core.backend import SessionLost
from leadership_core.backend.protocols import Absent, Leading
from leadership_kubernetes import lease as lease_module
from leadership_kubernetes.claim import KubernetesClaim
from leadership_kubernetes.errors import Conflicted
from leadership_kubernetes.lease import Lease
from leadership_kubernetes.names import name_of
from leadership_kubernetes.session import KubernetesSession
from leadership_kubernetes.store import KubernetesStore
from tests.support.servers.kubernetes import Kubernetes


def test_lease_has_the_record_of_client_go(
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """`kubectl get lease` shows the holder, and a released one has the form of ReleaseOnCancel."""
    election = store.election(unique_key)
    claim = election.enter(session, b"node-1")

    held = shared_kubernetes.lease(name)["spec"]
    election.withdraw(claim)
    released = shared_kubernetes.lease(name)["spec"]

    assert held["holderIdentity"].startswith("node-1_")
    assert held["leaseDurationSeconds"] == 60
    assert held["leaseTransitions"] == 1
    assert held["acquireTime"] == held["renewTime"]
    assert datetime.fromisoformat(held["renewTime"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert (released["holderIdentity"], released["leaseDurationSeconds"]) == ("", 1)
    assert released["leaseTransitions"] == 1
    assert {"acquireTime", "renewTime"} <= released.keys()


def test_lease_of_a_key_that_is_a_name_has_that_name(
    shared_kubernetes: Kubernetes, store: KubernetesStore, session: KubernetesSession
) -> None:
    """As the programs have it that are written with client-go."""
    key = "my-controller"
    claim = store.election(key).enter(session, b"a")

    assert claim.granted
    assert shared_kubernetes.lease(key)["spec"]["holderIdentity"].startswith("a_")


def test_followers_read_the_token_of_the_term_after_renewals(
    store: KubernetesStore, session: KubernetesSession, unique_key: str
) -> None:
    """Each renewal changes the resource version, and none the token."""
    election = store.election(unique_key)
    claim = election.enter(session, b"a")
    for _ in range(3):
        session.renew()

    leader = election.leader()
    assert leader is not None
    assert (leader.token, election.status(claim)) == (claim.token, Leading(leader.token))
    entry = store.get(unique_key)
    assert entry is not None
    assert (entry.revision, entry.value) == (claim.token, b"a")


def test_token_grows_after_the_lease_was_deleted_and_created_again(
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """The transitions begin again then; the resource version grows over the whole cluster."""
    election = store.election(unique_key)
    first = election.enter(session, b"a")
    shared_kubernetes.api("DELETE", shared_kubernetes.lease_path(name))
    assert election.status(first) == Absent()

    second = election.enter(session, b"a")

    assert shared_kubernetes.lease(name)["spec"]["leaseTransitions"] == 1
    assert first.token is not None
    assert second.token is not None
    assert second.token > first.token


def test_label_that_another_program_writes_does_not_end_a_term(
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """The renewal meets another resource version, finds its own record there, and goes on."""
    election = store.election(unique_key)
    claim = election.enter(session, b"a")
    shared_kubernetes.change_lease(name, {"metadata": {"labels": {"team": "x"}}})

    session.renew()

    assert election.status(claim) == Leading(claim.token or 0)
    assert shared_kubernetes.lease(name)["metadata"]["labels"]["team"] == "x"


def test_renewal_of_a_lease_that_was_taken_over_ends_the_session(
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """Its other claims are released, so that they keep none waiting."""
    taken, other = store.election(unique_key), store.election(f"{unique_key}/other")
    taken.enter(session, b"a")
    other.enter(session, b"a")
    thief = {"holderIdentity": "thief", "leaseTransitions": 7}
    shared_kubernetes.change_lease(name, {"spec": thief})

    with pytest.raises(SessionLost, match="taken over"):
        session.renew()

    assert other.leader() is None
    leader = taken.leader()
    assert leader is not None
    assert leader.value == "thief"
    with pytest.raises(SessionLost):
        session.renew()


def test_late_request_to_acquire_creates_no_lease(
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """A PUT may create a Lease; not so with the identity of one that was deleted."""
    store.election(unique_key).withdraw(store.election(unique_key).enter(session, b"a"))
    lease = store.client.read(name)
    assert lease is not None
    late = lease.acquired(unique_key, "ghost", b"ghost", 60)
    store.client.delete(lease)

    with pytest.raises(Conflicted):
        store.client.update(late)

    assert store.client.read(name) is None


def test_session_that_is_closed_during_a_request_keeps_no_lease(
    store: KubernetesStore, session: KubernetesSession, unique_key: str
) -> None:
    """The request to acquire that arrives afterwards meets another resource version."""
    election = store.election(unique_key)
    election.withdraw(election.enter(session, b"a"))
    lease = store.client.read(name_of(unique_key))
    assert lease is not None
    claim = KubernetesClaim(unique_key, session, b"late")
    claim.guard, claim.settled = lease.version, False
    late = lease.acquired(unique_key, claim.identity, b"late", 60)
    session.add(claim)

    session.close()

    with pytest.raises(Conflicted):
        store.client.update(late)
    assert (claim.settled, election.leader()) == (True, None)


def test_claim_is_renewed_once_if_a_renewal_began_while_it_was_sent(
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That renewal moves the deadline of the session, and has not written the Lease of the claim."""
    written: list[Lease] = []
    right = store.client.update

    def slow(manifest: dict[str, Any]) -> Lease:
        written.append(right(manifest))
        if len(written) == 1:
            session.renew()  # in another thread, before the answer has arrived
        return written[-1]

    monkeypatch.setattr(store.client, "update", slow)
    claim = store.election(unique_key).enter(session, b"a")

    assert claim.granted
    assert len(written) == 2
    assert KubernetesClaim.of(claim).holds(written[1])


class _Clock(datetime):
    """A wall clock that stands still."""

    at = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003  # asked for UTC alone
        return cls.at


@pytest.mark.parametrize("hours", [0, 1, -1])
def test_wall_clock_of_the_leader_changes_nothing(
    hours: int,
    store: KubernetesStore,
    session: KubernetesSession,
    rival: KubernetesSession,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a clock that stands still, or is set an hour ahead or back, each renewal is one."""
    election = store.election(unique_key)
    claim = election.enter(session, b"a")
    monkeypatch.setattr(lease_module, "datetime", _Clock)
    monkeypatch.setattr(_Clock, "at", datetime.now(UTC) + timedelta(hours=hours))
    seen = set()
    for _ in range(3):
        session.renew()
        lease = store.client.read(name_of(unique_key))
        assert lease is not None
        seen.add(lease.version)

    assert len(seen) == 3
    assert not store.election(unique_key).enter(rival, b"b").granted
    assert election.status(claim) == Leading(claim.token or 0)
