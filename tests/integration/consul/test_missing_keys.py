"""New elections whose keys do not exist: after some of them the key is created without a read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from leadership_consul.client import Client
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend import call_timeout
from tests.support.servers.consul import Consul

_SEEN = 3  # keys that have to be missing first


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was sent about keys: `read`, or the last verb of a transaction."""
    found: list[str] = []
    read, txn = Client.read, Client.txn

    def recorded_read(self: Client, key: str) -> Any:
        found.append("read")
        return read(self, key)

    def recorded_txn(self: Client, *operations: Any) -> Any:
        found.append(operations[-1]["Verb"])
        return txn(self, *operations)

    monkeypatch.setattr(Client, "read", recorded_read)
    monkeypatch.setattr(Client, "txn", recorded_txn)
    with call_timeout(10):
        yield found


@pytest.fixture
def enter(store: ConsulStore, session: ConsulSession) -> Callable[[str], bool]:
    """Enter the election of a key as a candidate that a user has just started."""

    def enter_it(key: str) -> bool:
        election = store.election(key)
        election.candidate_started()
        return election.enter(session, b"me").granted

    return enter_it


def test_key_is_created_without_a_read_after_others_were_missing(
    enter: Callable[[str], bool], unique_key: str, requests: list[str]
) -> None:
    for number in range(_SEEN + 2):
        assert enter(f"{unique_key}/{number}")

    assert requests == ["read", "cas", "lock"] * _SEEN + ["cas", "lock"] * 2


def test_existing_key_is_read_although_others_were_missing(
    consul: Consul, enter: Callable[[str], bool], unique_key: str, requests: list[str]
) -> None:
    """One request is lost where an existing key follows; the keys after it are read again."""
    for number in range(_SEEN):
        assert enter(f"{unique_key}/{number}")
    for number in range(2):
        consul.request("PUT", f"/v1/kv/{unique_key}/old-{number}", b"")
    requests.clear()

    assert enter(f"{unique_key}/old-0")
    assert enter(f"{unique_key}/old-1")

    assert requests == ["cas", "read", "lock", "read", "lock"]


def test_keys_of_another_folder_are_read(
    enter: Callable[[str], bool], unique_key: str, requests: list[str]
) -> None:
    for number in range(_SEEN):
        assert enter(f"{unique_key}/{number}")
    requests.clear()

    assert enter(f"{unique_key}-other/0")

    assert requests == ["read", "cas", "lock"]
