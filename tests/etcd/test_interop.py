"""The same election as etcd's own `etcdctl elect`, and so as Go's concurrency.Election."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leadership_core.store import Absent, Leading, Waiting
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.etcd.tools import Seen, is_led_by, wait_until
from tests.servers.etcd import Etcd
from tests.servers.process import Process

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


def test_it_waits_for_us(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """While we lead it waits; once we resign it leads, and we stand behind it."""
    election, seen = store.election(unique_key), Seen()
    watch = election.watch_leader(seen)
    claim = election.enter(session, b"Frank")
    assert claim.token is not None
    process = etcdctl_elect(unique_key, "Claire")
    wait_until(lambda: len(shared_etcd.keys(f"{unique_key}/")) == 2)
    assert election.standing(claim) == Leading(claim.token)
    assert "Claire" not in process.tail()

    election.withdraw(claim)

    wait_until(lambda: "Claire" in process.tail())
    leader = seen.wait(is_led_by("Claire"))
    assert leader.token > claim.token
    again = election.enter(session, b"Frank")
    assert not again.granted
    assert isinstance(election.standing(again), Waiting)
    watch.close()


def test_we_wait_for_it(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """While it leads we wait, and followers see it; when it leaves, we are woken and lead."""
    election, woken = store.election(unique_key), Seen()
    process = etcdctl_elect(unique_key, "Claire")
    wait_until(lambda: "Claire" in process.tail())
    assert str(election.leader()) == "Claire"
    claim = election.enter(session, b"Frank")
    assert not claim.granted
    turn = election.on_turn(claim, woken)
    assert election.standing(claim) == Waiting()

    process.terminate()

    wait_until(lambda: woken)
    assert claim.token is not None
    assert election.standing(claim) == Leading(claim.token)
    turn.close()


def test_it_sees_our_leaders(
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
def test_an_election_below_ours_is_another_one(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
    ours_first: bool,
) -> None:
    """`etcdctl elect svc/leader` and ours on `svc` both lead, whoever comes first."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank") if ours_first else None
    process = etcdctl_elect(f"{unique_key}/leader", "Claire")
    wait_until(lambda: "Claire" in process.tail())
    claim = claim or election.enter(session, b"Frank")

    assert claim.granted
    assert election.standing(claim) == Leading(claim.token or 0)
    assert str(election.leader()) == "Frank"
    assert str(store.election(f"{unique_key}/leader").leader()) == "Claire"


def test_a_phantom_in_etcds_own_queue(
    shared_etcd: Etcd,
    store: EtcdStore,
    session: EtcdSession,
    etcdctl_elect: Elector,
    unique_key: str,
) -> None:
    """It leads; we wait; our lease is revoked, and it leaves: nobody leads, and we do not believe."""
    election, woken = store.election(unique_key), Seen()
    process = etcdctl_elect(unique_key, "Claire")
    wait_until(lambda: "Claire" in process.tail())
    claim = election.enter(session, b"Frank")
    turn = election.on_turn(claim, woken)
    assert election.standing(claim) == Waiting()
    shared_etcd.revoke(session.lease)
    wait_until(lambda: woken)

    process.terminate()

    wait_until(lambda: election.leader() is None)
    assert election.standing(claim) == Absent()
    turn.close()
