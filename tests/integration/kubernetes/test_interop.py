"""Elections shared with Go's client-go `leaderelection`, both ways."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.backend import clock
from tests.support.client_go import ClientGo
from tests.support.servers.kubernetes import Kubernetes
from tests.support.waiting import at_most, wait_until

Elector = Callable[..., ClientGo]

_TTL = 2.0


@pytest.fixture
def name() -> str:
    """A key that is the name of its Lease."""
    return f"controller-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client_go(shared_kubernetes: Kubernetes, tmp_path: Path) -> Iterator[Elector]:
    """Starts candidates of client-go for a Lease; they are killed at the end."""
    with ExitStack() as stack:

        def start(name: str, identity: str, *, release: bool = False) -> ClientGo:
            found = ClientGo(
                shared_kubernetes, tmp_path, name, identity, duration=_TTL, release=release
            )
            stack.callback(found.process.kill)
            return found

        yield start


def test_client_go_waits_for_our_leader_and_leads_once_it_resigns(
    shared_kubernetes: Kubernetes, client_go: Elector, name: str
) -> None:
    """It knows our leader by its identity; ours is elected again when it has released the Lease."""
    with open_store(shared_kubernetes.url) as store:
        ours = Candidate(store, name, "ours", ttl=_TTL)
        first = ours.wait_elected(5)
        assert first is not None
        foreign = client_go(name, "go-1", release=True)
        wait_until(lambda: any("leader ours_" in event for event in foreign.events), 10)
        assert not first.wait_lost(2 * _TTL), "it was not left to lead"
        assert not foreign.leads

        assert ours.resign(60)
        foreign.await_belief(5)
        leader = store.leader(name)
        assert leader is not None
        assert (leader.value, leader.token > first.token) == ("go-1", True)

        foreign.stop()
        second = ours.wait_elected(at_most(2))
        assert second is None  # the cooldown of `resign`
        other = Candidate(store, name, "other", ttl=_TTL)
        third = other.wait_elected(5)
        assert third is not None
        assert third.token > leader.token
        assert other.stop()
        assert ours.stop()


def test_dead_leader_of_client_go_is_replaced_after_its_lease(
    shared_kubernetes: Kubernetes, client_go: Elector, name: str
) -> None:
    """Not before: what is waited for is the duration in its record, by our own clock."""
    with open_store(shared_kubernetes.url) as store:
        foreign = client_go(name, "go-1")
        foreign.await_belief(10)
        ours = Candidate(store, name, "ours", ttl=_TTL)
        assert ours.wait_elected(2 * _TTL) is None, "the leader was alive"
        token = getattr(store.leader(name), "token", 0)

        foreign.crash()
        begun = clock.now()
        term = ours.wait_elected(at_most(4 * _TTL))

        assert term is not None
        assert clock.now() - begun > _TTL / 2
        assert term.token > token
        assert ours.stop()


def test_dead_leader_of_ours_is_replaced_by_client_go(
    shared_kubernetes: Kubernetes, client_go: Elector, name: str
) -> None:
    """It leads once our session has been silent for its ttl, and our followers see it."""
    with open_store(shared_kubernetes.url) as store, open_store(shared_kubernetes.url) as other:
        session = store.open_session(_TTL)
        claim = store.election(name).enter(session, b"dead")
        assert claim.granted
        follower = Follower(other, name)
        assert follower.wait_leader(5)
        foreign = client_go(name, "go-1")

        foreign.await_belief(4 * _TTL)

        wait_until(lambda: follower.leader is not None and follower.leader.value == "go-1")
        assert follower.leader is not None
        assert follower.leader.token > (claim.token or 0)
        follower.stop()


def test_two_of_each_never_lead_together(
    shared_kubernetes: Kubernetes, client_go: Elector, name: str
) -> None:
    """Each of them leads in turn, as the one before it leaves."""
    with open_store(shared_kubernetes.url) as store:
        ours = [Candidate(store, name, f"ours-{n}", ttl=_TTL) for n in range(2)]
        for one in ours:
            one.run_for_election()
        foreign = [client_go(name, f"go-{n}", release=True) for n in range(2)]
        led: list[str] = []
        for _ in range(4):

            def leaders() -> list[str]:
                return [one.value for one in ours if one.is_leader] + [
                    one.identity for one in foreign if one.leads
                ]

            wait_until(lambda: len(leaders()) == 1, 15, "one of them leads")
            (leader,) = leaders()
            led.append(leader)
            for one in ours:
                if one.value == leader:
                    assert one.stop()
            for process in foreign:
                if process.identity == leader:
                    process.stop()

        assert sorted(led) == ["go-0", "go-1", "ours-0", "ours-1"]
