"""When ZooKeeper's leader has heard of a renewal, and when it only seems so."""

from __future__ import annotations

import time

from leadership_core.budget import budget
from leadership_zookeeper.session import ZooKeeperSession
from tests.scenarios.fleet import await_true
from tests.servers.zookeeper import ZooKeeper
from tests.servers.zookeeper_cluster import ZooKeeperCluster
from tests.zookeeper.conftest import Opener

TTL = 10.0
GAP = 6.0  # between two renewals: much longer than the margin


def test_a_renewal_counts_for_the_leader_of_the_ensemble(
    zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """A follower that goes away right after a renewal has told the leader of it before.

    `sync` alone is answered at once, and leaves the leader counting from the renewal before.
    """
    follower, leader = zookeeper_cluster.followers()[0], zookeeper_cluster.leader()
    session = opened(follower.url).open_session(TTL)
    _renew(session)
    time.sleep(GAP)
    sent = time.monotonic()
    _renew(session)

    zookeeper_cluster.cut_off(follower)

    await_true("the session has ended", lambda: not _is_alive(leader, session.number), 20)
    assert session.ttl == TTL
    assert time.monotonic() - sent >= TTL


def test_the_first_renewal_takes_no_time(shared_zookeeper: ZooKeeper, opened: Opener) -> None:
    """To open a session goes through the leader, so that the first election need not wait."""
    session = opened(shared_zookeeper.url).open_session(2.0)
    began = time.monotonic()

    _renew(session)

    first, began = time.monotonic() - began, time.monotonic()
    time.sleep(shared_zookeeper.tick / 4)
    _renew(session)
    session.close()
    assert first < shared_zookeeper.tick / 4 < time.monotonic() - began


def _renew(session: ZooKeeperSession) -> None:
    with budget(3.0):
        session.renew()


def _is_alive(leader: ZooKeeper, number: int) -> bool:
    return number % (1 << 64) in leader.sessions()
