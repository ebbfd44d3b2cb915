"""A lab leaves nothing behind in a user's store: no key, no lease, no session, no empty node."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kazoo.client import KazooClient

from leadership_core import Capability, StoreURL, open_store
from leadership_core.testing import Lab, contract_cases
from tests.servers.etcd import Etcd
from tests.servers.fixtures_consul import ConsulFactory
from tests.servers.zookeeper import ZooKeeper

CASES = [
    case
    for case in contract_cases(Capability)
    if case.name
    in {
        "test_a_candidate_is_elected_and_stops",
        "test_a_key_is_not_there_because_of_what_is_below",
        "test_a_lost_answer_to_entering_is_no_second_leader",
        "test_an_entry_follows_its_last_writer",
        "test_the_session_of_the_leader_is_closed",
    }
]


def fail_half_way(url: str | StoreURL) -> None:
    with Lab(url) as lab:
        lab.store.put(lab.key("a/b"), b"1", session=lab.session())
        lab.store.election(lab.key("c")).enter(lab.session(), b"1")
        raise AssertionError("half way")


def run_cases(url: str | StoreURL) -> None:
    assert len(CASES) == 5
    for case in CASES:
        with Lab(url) as lab:
            case.run(lab)
    with pytest.raises(AssertionError, match="half way"):
        fail_half_way(url)
    with open_store(url) as store:
        assert store.list("") == []


def test_etcd_is_as_it_was(etcd: Etcd) -> None:
    """Leases, too."""
    run_cases(f"{etcd.url}/prefix")
    assert etcd.cli("get", "", "--from-key", "--keys-only").stdout.strip() == ""
    assert etcd.cli("lease", "list").stdout.strip() == "found 0 leases"


def test_consul_is_as_it_was(consul_server: ConsulFactory) -> None:
    """Sessions, too."""
    agent = consul_server(dev=True)
    run_cases(f"{agent.url}/prefix")
    assert agent.request("GET", "/v1/kv/?keys").body == []
    assert agent.request("GET", "/v1/session/list").body == []


def test_zookeeper_is_as_it_was(zookeeper: ZooKeeper) -> None:
    """But for the chroot of the URL, which the store has made."""
    run_cases(replace(StoreURL.parse(zookeeper.url), path="some/chroot"))
    client = KazooClient(f"{zookeeper.host}:{zookeeper.port}")
    client.start()
    try:
        assert client.get_children("/some/chroot") == []
        assert client.get_children("/some") == ["chroot"]
    finally:
        client.stop()
        client.close()
