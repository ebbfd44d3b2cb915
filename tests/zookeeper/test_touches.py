"""When ZooKeeper's leader has heard of a renewal, and when it only seems so."""

from __future__ import annotations

import time

import pytest

from leadership_core import Candidate, open_store
from leadership_core.budget import budget
from leadership_zookeeper.session import ZooKeeperSession
from tests.conftest import ZooKeeperFactory
from tests.scenarios.fleet import await_true
from tests.servers.zookeeper import ZooKeeper
from tests.servers.zookeeper_cluster import ZooKeeperCluster
from tests.zookeeper.conftest import Opener

TTL = 10.0


@pytest.mark.parametrize("pause", [2.0, 6.0], ids=["touched all the time", "interrupted"])
def test_a_renewal_counts_for_the_leader_of_the_ensemble(
    pause: float, zookeeper_cluster: ZooKeeperCluster, opened: Opener
) -> None:
    """A follower that goes away right after a renewal has told the leader of the session before.

    `sync` alone is answered at once, and may leave the leader counting from the renewal before.
    """
    follower, leader = zookeeper_cluster.followers()[0], zookeeper_cluster.leader()
    session = opened(follower.url).open_session(TTL)
    _renew(session)
    time.sleep(pause)
    sent = time.monotonic()
    _renew(session)

    zookeeper_cluster.cut_off(follower)

    await_true("the session has ended", lambda: not _is_alive(leader, session.number), 20)
    assert session.ttl == TTL
    # What the margin is for: a leader that believes until then has stopped before.
    assert time.monotonic() - sent >= TTL - follower.tick * 2 / 3


def test_a_renewal_takes_no_time_as_long_as_the_session_is_touched(
    shared_zookeeper: ZooKeeper, opened: Opener
) -> None:
    """From when it is opened; after an interruption, it takes as long as it takes to be told."""
    session = opened(shared_zookeeper.url).open_session(8.0)
    tick, spent = shared_zookeeper.tick, []
    for pause in (0.0, 0.1, 2.0, 5.0, 1.0):  # of the ttl, half is touched; the fifth follows that
        time.sleep(pause)
        began = time.monotonic()
        _renew(session)
        spent.append(time.monotonic() - began)

    assert max(spent[:3] + spent[4:]) < tick / 2 < spent[3]
    session.close()


def test_the_shortest_ttl_holds_a_term(zookeeper_server: ZooKeeperFactory) -> None:
    """With the tick of a common server, and with little room for a renewal."""
    server = zookeeper_server(tick=2.0)
    with open_store(server.url) as store:
        candidate = Candidate(store, "leader", "Frank", ttl=4.0)
        candidate.run_for_election()
        term = candidate.wait_elected(10)
        assert term is not None

        time.sleep(10)

        assert candidate.term is term
        assert candidate.stop()


def _renew(session: ZooKeeperSession) -> None:
    with budget(3.0):
        session.renew()


def _is_alive(leader: ZooKeeper, number: int) -> bool:
    return number % (1 << 64) in leader.sessions()
