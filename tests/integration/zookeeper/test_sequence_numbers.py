"""Elections whose sequence numbers are used up."""

from __future__ import annotations

import threading

import pytest

from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.protocols import Leading
from leadership_core.errors import NotApplied
from tests.conftest import ZooKeeperFactory
from tests.integration.zookeeper.conftest import Opener
from tests.support.admin_tools import kazoo_client
from tests.support.servers.zookeeper_counters import LAST, set_counter


def test_sequence_numbers_restart_after_last_one(
    zookeeper_server: ZooKeeperFactory, opened: Opener
) -> None:
    """ZooKeeper repeats the last number: no claim with it leads, and none overtakes the leader."""
    server = zookeeper_server()
    with kazoo_client(server) as client:
        client.ensure_path("/service/leader")
    set_counter(server, "/service/leader", LAST - 1)
    store = opened(server.url)
    election = store.election("service/leader")
    leads = election.enter(store.open_session(8), b"first")
    assert leads.granted
    woken = threading.Event()
    election.watch_claim(leads, woken.set)
    woken.clear()

    for number in range(10):  # of which half have a name that comes before the leader's
        with pytest.raises(NotApplied, match="no numbers left"), call_timeout(5):
            election.enter(store.open_session(8), str(number).encode())
    assert election.status(leads) == Leading(leads.token or 0)
    assert not woken.is_set()

    election.withdraw(leads)
    after = election.enter(store.open_session(8), b"next")
    assert after.granted
    assert (after.token or 0) > (leads.token or 0)
    with kazoo_client(server) as client:
        (name,) = client.get_children("/service/leader")
        assert name.endswith("__lock__0000000000")
