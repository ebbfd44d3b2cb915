"""What a backend raises that it must not."""

from __future__ import annotations

import importlib
import time

import pytest

from leadership_core import Candidate, NotElected, open_store
from tests.scenarios.conftest import Place
from tests.scenarios.places import on_servers

_WHERE = {
    "consul": ("leadership_consul.election", "ConsulElection"),
    "etcd": ("leadership_etcd.election", "EtcdElection"),
    "zookeeper": ("leadership_zookeeper.election", "ZooKeeperElection"),
}


@on_servers
def test_an_error_that_nobody_expected_is_no_hot_loop(
    kind: str, place: Place, unique_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in a backend: the candidate goes on, slowly, and leads when it is over."""
    module, name = _WHERE[kind]
    election = getattr(importlib.import_module(module), name)
    entered = []

    def enter(*_: object) -> None:
        entered.append(time.monotonic())
        raise ValueError("a mistake")

    with open_store(place.url) as store, monkeypatch.context() as patch:
        patch.setattr(election, "enter", enter)
        candidate = Candidate(store, unique_key, "Frank", ttl=place.ttl)
        with pytest.raises(NotElected, match="a mistake"):
            candidate.wait_elected(2)
        assert 1 <= len(entered) <= 12, entered
        patch.undo()
        assert candidate.wait_elected(10)
