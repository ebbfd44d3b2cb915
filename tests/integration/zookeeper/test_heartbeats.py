"""Heartbeats and renewals, as ZooKeeper's leader counts them."""

from __future__ import annotations

import time

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.deadline import call_timeout
from leadership_zookeeper.session import ZooKeeperSession
from tests.conftest import ZooKeeperFactory
from tests.integration.zookeeper.conftest import Opener
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.servers.zookeeper_cluster import ZooKeeperCluster
from tests.support.waiting import wait_until

TTL = 10.0


@pytest.mark.parametrize("pause", [2.0, 6.0], ids=["last_heartbeat all the time", "interrupted"])
def test_renewal_is_known_to_leader_of_ensemble(
    pause: float, zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """The follower disappears right after it; `sync` alone does not reach the leader in time."""
    follower, leader = zookeeper_cluster.followers()[0], zookeeper_cluster.leader()
    session = opened(follower.url).open_session(TTL)
    _renew(session)
    time.sleep(pause)
    sent = time.monotonic()
    _renew(session)

    zookeeper_cluster.cut_off(follower)

    wait_until(lambda: not _is_alive(leader, session.number), 20, "the session has ended")
    assert session.ttl == TTL
    # A leader that counts with the margin has stopped before.
    assert time.monotonic() - sent >= TTL - follower.tick * 2 / 3


def test_renewal_is_immediate_with_heartbeats(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """After an interruption it takes as long as a heartbeat needs to be forwarded.

    A delay may come from the load of the machine: then there are two more attempts.
    """
    session = opened(shared_zookeeper.url).open_session(8.0)
    tick = shared_zookeeper.tick
    attempts = []
    for _ in range(3):
        spent: list[float] = []
        # Of the ttl, half is last_heartbeat; the fifth pause follows that.
        for pause in (0.0, 0.1, 2.0, 5.0, 1.0):
            time.sleep(pause)
            began = time.monotonic()
            _renew(session)
            spent.append(time.monotonic() - began)
        if max(spent[:3] + spent[4:]) < tick / 2 < spent[3]:
            session.close()
            return
        attempts.append(spent)
    pytest.fail(f"renewals have taken {attempts} s with a tick of {tick} s")


def test_term_lasts_with_shortest_ttl(zookeeper_server: ZooKeeperFactory) -> None:
    """With the usual tick there is little time for a renewal."""
    server = zookeeper_server(tick=2.0)
    with open_store(server.url) as store:
        candidate = Candidate(store, "leader", "Frank", ttl=4.0)
        candidate.run_for_election()
        term = candidate.wait_elected(10)
        assert term is not None

        time.sleep(10)

        assert candidate.term is term
        assert candidate.stop()


def test_renewal_is_one_write_for_all_elections_of_a_session(
    zookeeper_server: ZooKeeperFactory, unique_key: str
) -> None:
    """Thirty candidates write no more than one does: the ids of the server's transactions are counted."""
    server, ttl = zookeeper_server(), 2.0
    with open_store(server.url) as store:
        candidates = [Candidate(store, f"{unique_key}/{n}", "a", ttl=ttl) for n in range(30)]
        for candidate in candidates:
            candidate.run_for_election()
        for candidate in candidates:
            assert candidate.wait_elected(30)
        begun, before = time.monotonic(), server.zxid()

        time.sleep(2 * ttl)

        after, lasted = server.zxid(), time.monotonic() - begun
        assert all(candidate.is_leader for candidate in candidates)
        assert 1 <= after - before <= 3 * lasted / ttl + 2


def _renew(session: ZooKeeperSession) -> None:
    with call_timeout(3.0):
        session.renew()


def _is_alive(leader: ZooKeeper, number: int) -> bool:
    return number % (1 << 64) in leader.sessions()
