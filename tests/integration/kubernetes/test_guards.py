"""What the API server compares in the step of a write, and writes whose answer was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leadership_core.backend import (
    ClaimOutcomeUnknown,
    NotApplied,
    StoreUnavailable,
    call_timeout,
)
from leadership_core.backend.protocols import Absent, Leading
from leadership_kubernetes.claim import KubernetesClaim
from leadership_kubernetes.errors import Conflicted
from leadership_kubernetes.lease import Lease
from leadership_kubernetes.session import KubernetesSession
from leadership_kubernetes.store import KubernetesStore
from tests.conftest import ProxyFactory
from tests.integration.kubernetes.conftest import Opener
from tests.support.servers.kubernetes import Kubernetes

Update = Callable[[dict[str, Any]], Lease]


def test_lease_is_replaced_only_as_it_was_read(
    store: KubernetesStore, session: KubernetesSession, unique_key: str, name: str
) -> None:
    """A candidate that was stopped between its read and its write replaces no newer holder."""
    election = store.election(unique_key)
    election.withdraw(election.enter(session, b"a"))
    read = store.client.read(name)
    assert read is not None
    claim = election.enter(session, b"b")

    with pytest.raises(Conflicted):
        store.client.update(read.acquired(unique_key, "late", b"late", 60))
    with pytest.raises(Conflicted):
        store.client.delete(read)

    assert election.status(claim) == Leading(claim.token or 0)


def test_withdrawal_releases_no_other_holder(
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """The claim was taken over before; its holder finds that out by the version it writes over."""
    election = store.election(unique_key)
    claim = election.enter(session, b"a")
    shared_kubernetes.change_lease(name, {"spec": {"holderIdentity": "thief"}})

    election.withdraw(claim)

    assert shared_kubernetes.lease(name)["spec"]["holderIdentity"] == "thief"


@pytest.mark.parametrize("hours", [1, -1])
def test_times_in_the_record_of_another_holder_change_nothing(
    hours: int,
    shared_kubernetes: Kubernetes,
    store: KubernetesStore,
    session: KubernetesSession,
    rival: KubernetesSession,
    unique_key: str,
    name: str,
) -> None:
    """Only that the Lease has not changed for its duration, by our own clock, makes it free."""
    election = store.election(unique_key)
    election.withdraw(election.enter(rival, b"a"))
    at = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "go", "leaseDurationSeconds": 2, "renewTime": at, "acquireTime": at}
    shared_kubernetes.change_lease(name, {"spec": spec})

    early = election.enter(session, b"early")
    time.sleep(2.2)
    in_time = election.enter(session, b"in time")

    assert (early.granted, in_time.granted) == (False, True)


def test_claim_whose_answer_was_lost_leads(
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is read back, and has the identity of this claim alone."""
    right: Update = store.client.update

    def without_an_answer(manifest: dict[str, Any]) -> Lease:
        right(manifest)
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(store.client, "update", without_an_answer)
    election = store.election(unique_key)
    outcome: object = None
    try:
        outcome = election.enter(session, b"a").granted
    except StoreUnavailable as error:
        outcome = error
    monkeypatch.undo()

    assert outcome is True


def test_claim_whose_request_was_lost_never_leads_after_its_withdrawal(
    store: KubernetesStore,
    session: KubernetesSession,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its outcome is unknown, and the request that arrives after the withdrawal meets another version."""
    right: Update = store.client.update
    sent: list[dict[str, Any]] = []

    def lost(manifest: dict[str, Any]) -> Lease:
        sent.append(manifest)
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(store.client, "update", lost)
    election = store.election(unique_key)
    with pytest.raises(ClaimOutcomeUnknown) as raised:
        election.enter(session, b"a")
    monkeypatch.undo()
    claim = raised.value.claim

    election.withdraw(claim)

    with pytest.raises(Conflicted):
        right(sent[0])
    assert election.status(claim) == Absent()
    assert isinstance(claim, KubernetesClaim)
    assert claim.withdrawn


def test_write_without_an_answer_has_an_unknown_outcome(
    shared_kubernetes: Kubernetes, store: KubernetesStore, opened: Opener, proxy: ProxyFactory, unique_key: str
) -> None:  # fmt: skip
    """The answer was lost, and the write was made: it must not be repeated as if it were not."""
    link = proxy(shared_kubernetes.port)
    cut_off = opened(shared_kubernetes.url_at(link.port))
    entry = cut_off.put(unique_key, b"1")
    link.cut("down")

    with pytest.raises(StoreUnavailable) as raised, call_timeout(1.0):
        cut_off.put(unique_key, b"2", expect=entry)

    assert not isinstance(raised.value, NotApplied)
