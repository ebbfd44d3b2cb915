"""Elections shared with `etcdctl elect`, and so with Go's concurrency.Election."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core.backend.protocols import Absent, Leading, Waiting
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.integration.etcd.tools import is_led_by
from tests.support.servers.etcd import Etcd
from tests.support.servers.process import Process
from tests.support.waiting import Seen, wait_until

Elector = Callable[..., Process]


@pytest.fixture
def etcdctl_elect(shared_etcd: Etcd, tmp_path: Path) -> Iterator[Elector]:
    """Runs `etcdctl elect`; the log has the key once it leads."""
    with ExitStack() as stack:

        def run(*words: str) -> Process:
            process = shared_etcd.cli_process("elect", *words, log=tmp_path / f"log{len(words)}")
            process.start()
            stack.callback(process.terminate)
            return process

        yield run


def test_etcdctl_waits_for_our_leader(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """Once we resign it leads, and our next claim waits behind it."""
    election, seen = store.election(unique_key), Seen()
    watch = election.watch_leader(seen)
    claim = election.enter(session, b"Frank")
    assert claim.token is not None
    process = etcdctl_elect(unique_key, "Claire")
    wait_until(lambda: len(shared_etcd.keys(f"{unique_key}/")) == 2)
    assert election.status(claim) == Leading(claim.token)
    assert "Claire" not in process.tail()

    election.withdraw(claim)

    wait_until(lambda: "Claire" in process.tail())
    leader = seen.wait(is_led_by("Claire"))
    assert leader.token > claim.token
    again = election.enter(session, b"Frank")
    assert not again.granted
    assert isinstance(election.status(again), Waiting)
    watch.close()


def test_candidate_waits_for_etcdctl(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """While `etcdctl` leads, followers see it; when it leaves, our claim is woken and leads."""
    election, woken = store.election(unique_key), Seen()
    process = etcdctl_elect(unique_key, "Claire")
    wait_until(lambda: "Claire" in process.tail())
    assert str(election.leader()) == "Claire"
    claim = election.enter(session, b"Frank")
    assert not claim.granted
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()

    process.terminate()

    wait_until(lambda: woken)
    assert claim.token is not None
    assert election.status(claim) == Leading(claim.token)
    claim_watch.close()


def test_etcdctl_lists_our_leaders(
    store: EtcdStore,
    session: EtcdSession,
    rival: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """`etcdctl elect -l` prints the value of each."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    process = etcdctl_elect("-l", unique_key)
    wait_until(lambda: "Frank" in process.tail())

    election.enter(rival, b"Claire")
    election.withdraw(claim)

    wait_until(lambda: "Claire" in process.tail())


@pytest.mark.parametrize("ours_first", [True, False])
def test_etcdctl_election_below_ours_is_independent(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
    ours_first: bool,
) -> None:
    """`etcdctl elect svc/leader` and ours on `svc` both lead, whichever is first."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank") if ours_first else None
    process = etcdctl_elect(f"{unique_key}/leader", "Claire")
    wait_until(lambda: "Claire" in process.tail())
    claim = claim or election.enter(session, b"Frank")

    assert claim.granted
    assert election.status(claim) == Leading(claim.token or 0)
    assert str(election.leader()) == "Frank"
    assert str(store.election(f"{unique_key}/leader").leader()) == "Claire"


def test_waiting_claim_with_revoked_lease_does_not_follow_etcdctl(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """`etcdctl` leads, our lease is revoked, and `etcdctl` leaves: there is no leader."""
    election, woken = store.election(unique_key), Seen()
    process = etcdctl_elect(unique_key, "Claire")
    wait_until(lambda: "Claire" in process.tail())
    claim = election.enter(session, b"Frank")
    claim_watch = election.watch_claim(claim, woken)
    assert election.status(claim) == Waiting()
    shared_etcd.revoke(session.lease)
    wait_until(lambda: woken)

    process.terminate()

    wait_until(lambda: election.leader() is None)
    assert election.status(claim) == Absent()
    claim_watch.close()
