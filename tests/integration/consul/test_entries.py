"""Entries: keys, fences, revisions, and deletion of trees."""

from __future__ import annotations

from typing import Any

import pytest
from consul.api.session import Session as PySession

from leadership_consul.client import Client
from leadership_consul.options import Options
from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core import Fence
from leadership_core.backend.entries import ABSENT
from leadership_core.backend.protocols import Absent, Capability
from leadership_core.backend.url import StoreURL
from leadership_core.errors import Conflict, Fenced, StoreRefused
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import raw
from tests.support.keys import SPECIAL_KEYS
from tests.support.servers.consul import Consul


@pytest.mark.parametrize("name", SPECIAL_KEYS)
def test_keys_are_sent_unchanged(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str, name: str
) -> None:
    """All requests use the same key, and Consul has it literally."""
    key = f"{unique_key}/{name}"
    entry = store.put(key, b"1")

    assert store.get(key) == entry
    assert store.list(unique_key) == [entry]
    assert consul.cli("kv", "get", key).stdout == "1\n"
    assert store.delete(key)
    assert raw(consul, key) is None

    assert store.election(key).enter(session, b"Frank").token is not None
    leader = store.election(key).leader()
    assert str(leader) == "Frank"


def test_fence_is_valid_exactly_during_its_term(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """It permits writes in the term, and none after a resignation, a later term, or a deletion."""
    election, data = store.election(unique_key), f"{unique_key}/data"
    claim = election.enter(session, b"Frank")
    assert claim.token is not None
    fence = Fence(unique_key, claim.token)

    entry = store.put(data, b"1", fence=fence)
    with pytest.raises(Conflict) as conflict:
        store.put(data, b"2", expect=ABSENT, fence=fence)
    assert not isinstance(conflict.value, Fenced)

    election.withdraw(claim)
    with pytest.raises(Fenced):
        store.put(data, b"late", fence=fence)
    again = election.enter(session, b"Frank")
    with pytest.raises(Fenced):
        store.put(data, b"late", fence=fence)
    consul.cli("kv", "delete", unique_key)
    assert again.token is not None
    with pytest.raises(Fenced):
        store.put(data, b"late", expect=entry, fence=Fence(unique_key, again.token))
    assert store.get(data) == entry


def test_fence_requires_a_locked_key(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """Neither a plain entry nor a value written over a lock is a fence."""
    plain = store.put(unique_key, b"1")
    with pytest.raises(Fenced):
        store.put(f"{unique_key}/data", b"2", fence=Fence(unique_key, plain.revision))

    claim = store.election(unique_key).enter(session, b"Frank")
    assert claim.token is not None
    store.put(f"{unique_key}/data", b"3", fence=Fence(unique_key, claim.token))
    consul.cli("kv", "put", unique_key, "by hand")
    by_hand = raw(consul, unique_key)
    assert by_hand is not None
    for token in (claim.token, by_hand["ModifyIndex"]):
        with pytest.raises(Fenced):
            store.put(f"{unique_key}/data", b"4", fence=Fence(unique_key, token))


def test_store_declares_its_capabilities(store: ConsulStore) -> None:
    """It has all capabilities; a session expires within twice its ttl."""
    assert store.capabilities == set(Capability)
    assert store.least_margin == 0
    assert store.expires_within(15) == 30


def test_write_of_the_same_value_has_a_new_revision(store: ConsulStore, unique_key: str) -> None:
    """Consul by itself keeps the index of a key where a write changes nothing."""
    first, second = store.put(unique_key, b"1"), store.put(unique_key, b"1")

    assert second.revision > first.revision
    assert store.get(unique_key) == second


def test_value_above_the_limit_is_refused(store: ConsulStore, unique_key: str) -> None:
    """The message has the server's limit."""
    with pytest.raises(StoreRefused, match="max size"):
        store.put(unique_key, b"x" * 600_000)


def test_session_without_a_name_exists(
    store: ConsulStore,
    consul: Consul,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer may omit what is empty, or what a later release does not report."""
    info = PySession.info

    def nameless(*args: Any, **options: Any) -> Any:
        index, found = info(*args, **options)
        return index, {name: value for name, value in found.items() if name != "Name"}

    session = store.open_session(10)
    store.put(unique_key, b"1", session=session)
    monkeypatch.setattr(PySession, "info", nameless)

    client = Client(Options.read(StoreURL.parse(consul.url)))
    assert client.session_name(session.id) == ""
    client.close()
    found = opened(consul.url).get(unique_key)
    assert found is not None
    assert found.session is not None
    session.close()


def test_delete_tree_deletes_more_than_a_transaction_has_operations(
    store: ConsulStore, unique_key: str
) -> None:
    """All keys below the key are deleted at once, and no other key."""
    kept = [f"{unique_key}", f"{unique_key}0", f"{unique_key}c/d", f"{unique_key}-/x"]
    for key in (*kept, *(f"{unique_key}/{number}/x" for number in range(70))):
        store.put(key, b"1")

    assert store.delete_tree(unique_key) == 70
    assert store.list(unique_key) == []
    assert all(store.get(key) for key in kept)
    assert store.delete_tree(unique_key) == 0


def test_delete_tree_deletes_locked_keys(
    store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """The claim of the leader of an election below the key becomes absent."""
    election = store.election(f"{unique_key}/leader")
    claim = election.enter(session, b"Frank")

    assert store.delete_tree(unique_key) == 1

    assert election.status(claim) == Absent()
    assert election.leader() is None
