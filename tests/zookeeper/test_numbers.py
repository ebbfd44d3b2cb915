"""When ZooKeeper has used up its numbers for the children of an election."""

from __future__ import annotations

import threading

import pytest

from leadership_core.budget import budget
from leadership_core.errors import NotDone
from leadership_core.store import Leading
from tests.conftest import ZooKeeperFactory
from tests.scenarios.offices import kazoo_client
from tests.servers.zookeeper_counters import LAST, set_counter
from tests.zookeeper.conftest import Opener


def test_numbers_that_are_used_up_begin_anew(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """ZooKeeper gives the last one again and again: nobody leads by it, and nobody is overtaken."""
    server = zookeeper_server()
    with kazoo_client(server) as client:
        client.ensure_path("/service/leader")
    set_counter(server, "/service/leader", LAST - 1)
    store = opened(server.url)
    election = store.election("service/leader")
    leads = election.enter(store.open_session(8), b"first")
    assert leads.granted
    woken = threading.Event()
    election.on_turn(leads, woken.set)
    woken.clear()

    for number in range(10):  # of which half have a name that comes before the leader's
        with pytest.raises(NotDone, match="no numbers left"), budget(5):
            election.enter(store.open_session(8), str(number).encode())
    assert election.standing(leads) == Leading(leads.token or 0)
    assert not woken.is_set()

    election.withdraw(leads)
    after = election.enter(store.open_session(8), b"next")
    assert after.granted
    assert (after.token or 0) > (leads.token or 0)
    with kazoo_client(server) as client:
        (name,) = client.get_children("/service/leader")
        assert name.endswith("__lock__0000000000")
