"""Unexpected errors of a backend."""

from __future__ import annotations

import importlib
import time

import pytest

from leadership_core import Candidate, NotElected, open_store
from tests.support.backends import on_servers
from tests.system.conftest import TargetStore

_WHERE = {
    "consul": ("leadership_consul.election", "ConsulElection"),
    "etcd": ("leadership_etcd.election", "EtcdElection"),
    "zookeeper": ("leadership_zookeeper.election", "ZooKeeperElection"),
}


@on_servers
def test_unexpected_error_causes_no_hot_loop(
    kind: str, target: TargetStore, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidate retries slowly, and leads when the errors end."""
    module, name = _WHERE[kind]
    election = getattr(importlib.import_module(module), name)
    entered = []

    def enter(*_: object) -> None:
        entered.append(time.monotonic())
        raise ValueError("a mistake")

    with open_store(target.url) as store, monkeypatch.context() as patch:
        patch.setattr(election, "enter", enter)
        candidate = Candidate(store, unique_key, "Frank", ttl=target.ttl)
        with pytest.raises(NotElected, match="a mistake"):
            candidate.wait_elected(2)
        assert 1 <= len(entered) <= 12, entered
        patch.undo()
        assert candidate.wait_elected(10)
