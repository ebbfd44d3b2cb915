"""What a sandbox leaves in a user's store: no key, no lease, no session, no empty node."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kazoo.client import KazooClient

from leadership_core import Capability, StoreURL, open_store
from leadership_core.testing import Sandbox, contract_cases
from tests.support.servers.etcd import Etcd
from tests.support.servers.fixtures import ConsulFactory
from tests.support.servers.zookeeper import ZooKeeper

CASES = [
    case
    for case in contract_cases(Capability)
    if case.name
    in {
        "test_candidate_is_elected_and_stops",
        "test_key_above_an_entry_does_not_exist_by_itself",
        "test_enter_with_a_lost_answer_makes_no_second_leader",
        "test_entry_is_bound_to_the_session_of_its_last_writer",
        "test_closing_the_leaders_session_elects_the_next",
    }
]


def fail_half_way(url: str | StoreURL) -> None:
    with Sandbox(url) as sandbox:
        sandbox.store.put(sandbox.key("a/b"), b"1", session=sandbox.session())
        sandbox.store.election(sandbox.key("c")).enter(sandbox.session(), b"1")
        raise AssertionError("half way")


def run_cases(url: str | StoreURL) -> None:
    assert len(CASES) == 5
    for case in CASES:
        with Sandbox(url) as sandbox:
            case.run(sandbox)
    with pytest.raises(AssertionError, match="half way"):
        fail_half_way(url)
    with open_store(url) as store:
        assert store.list("") == []


def test_contract_leaves_nothing_in_etcd(etcd: Etcd) -> None:
    """No key and no lease remains."""
    run_cases(f"{etcd.url}/prefix")
    assert etcd.cli("get", "", "--from-key", "--keys-only").stdout.strip() == ""
    assert etcd.cli("lease", "list").stdout.strip() == "found 0 leases"


def test_contract_leaves_nothing_in_consul(consul_server: ConsulFactory) -> None:
    """No key and no session remains."""
    agent = consul_server(dev=True)
    run_cases(f"{agent.url}/prefix")
    assert agent.request("GET", "/v1/kv/?keys").body == []
    assert agent.request("GET", "/v1/session/list").body == []


def test_contract_leaves_nothing_in_zookeeper(zookeeper: ZooKeeper) -> None:
    """Only the chroot remains, which the store has created for the URL."""
    run_cases(replace(StoreURL.parse(zookeeper.url), path="some/chroot"))
    client = KazooClient(f"{zookeeper.host}:{zookeeper.port}")
    client.start()
    try:
        assert client.get_children("/some/chroot") == []
        assert client.get_children("/some") == ["chroot"]
    finally:
        client.stop()
        client.close()
