"""Entries: reading, compare-and-set, fences, and keys of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.errors import Conflict, Fenced, StoreRefused
from leadership_core.store import ABSENT, Capability
from tests.consul.conftest import Opener
from tests.consul.tools import raw
from tests.servers.consul import Consul

KEYS = [
    "plain",
    "with space",
    "ünïcødé/日本",
    "per%cent/%2F/%zz",
    "question?mark=1&x",
    "hash#tag",
    "plus+plus",
    "a:b;c,d=e&f@g!$'()*~",
    "back\\slash",
    'quo"te',
    "{brace}[bracket]|^`",
    "...",
]


def test_put_get_delete(store: ConsulStore, unique_key: str) -> None:
    """A key is there, with what was put, until it is deleted; any bytes come back."""
    assert store.get(unique_key) is None

    for value in (b"1", b"", bytes(range(256)), b"x" * 100_000):
        entry = store.put(unique_key, value)
        assert store.get(unique_key) == entry
        assert (entry.key, entry.value) == (unique_key, value)

    assert store.delete(unique_key)
    assert not store.delete(unique_key)
    assert store.get(unique_key) is None


@pytest.mark.parametrize("name", KEYS)
def test_keys_arrive_as_they_are(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str, name: str
) -> None:
    """Read, write, list, lock and delete mean the same key, and Consul has it literally."""
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


def test_list_stops_at_the_slash(store: ConsulStore, unique_key: str) -> None:
    """`ab` does not list `abc/d`, nor itself; the order is that of the keys."""
    for tail in ("", "c/d", "/x/y", "/a"):
        store.put(f"{unique_key}{tail}", b"1")

    assert [entry.key for entry in store.list(unique_key)] == [
        f"{unique_key}/a",
        f"{unique_key}/x/y",
    ]
    assert store.list(f"{unique_key}/nothing") == []


def test_compare_and_set(store: ConsulStore, unique_key: str) -> None:
    """A write or a deletion applies to the entry that was read, or not at all."""
    first = store.put(unique_key, b"1", expect=ABSENT)
    with pytest.raises(Conflict):
        store.put(unique_key, b"no", expect=ABSENT)
    second = store.put(unique_key, b"2", expect=first)
    with pytest.raises(Conflict):
        store.put(unique_key, b"no", expect=first)
    with pytest.raises(Conflict):
        store.delete(unique_key, expect=first)
    with pytest.raises(Conflict):
        store.delete(unique_key, expect=ABSENT)

    assert second.revision > first.revision
    assert store.get(unique_key) == second
    assert store.delete(unique_key, expect=second)
    assert not store.delete(unique_key, expect=second)
    assert not store.delete(unique_key, expect=ABSENT)
    with pytest.raises(Conflict):
        store.put(unique_key, b"no", expect=second)


def test_a_fence_holds_exactly_as_long_as_its_term(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """It lets the term write, and nobody after a resignation, a new term of the session, a deletion."""
    election, data = store.election(unique_key), f"{unique_key}/data"
    claim = election.enter(session, b"Frank")
    assert claim.token is not None
    fence = (unique_key, claim.token)

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
        store.put(data, b"late", expect=entry, fence=(unique_key, again.token))
    assert store.get(data) == entry


def test_what_nobody_has_locked_is_no_fence(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """Neither a plain entry, nor what was written by hand over a lock that stands."""
    plain = store.put(unique_key, b"1")
    with pytest.raises(Fenced):
        store.put(f"{unique_key}/data", b"2", fence=(unique_key, plain.revision))

    claim = store.election(unique_key).enter(session, b"Frank")
    assert claim.token is not None
    store.put(f"{unique_key}/data", b"3", fence=(unique_key, claim.token))
    consul.cli("kv", "put", unique_key, "by hand")
    by_hand = raw(consul, unique_key)
    assert by_hand is not None
    for token in (claim.token, by_hand["ModifyIndex"]):
        with pytest.raises(Fenced):
            store.put(f"{unique_key}/data", b"4", fence=(unique_key, token))


def test_revisions_grow_over_the_whole_store(store: ConsulStore, unique_key: str) -> None:
    """Also from a deleted key to the one that takes its place."""
    revisions = []
    for number in range(4):
        key = f"{unique_key}/{number % 2}"
        revisions.append(store.put(key, str(number).encode()).revision)
        store.delete(key)

    assert revisions == sorted(set(revisions))


def test_what_it_declares(store: ConsulStore) -> None:
    """All that there is; a silent session lives for two of its ttls."""
    assert store.capabilities == set(Capability)
    assert store.least_margin == 0
    assert store.expires_within(15) == 30


def test_every_write_has_a_revision_of_its_own(store: ConsulStore, unique_key: str) -> None:
    """Also one that changes nothing, which Consul by itself would leave out."""
    first, second = store.put(unique_key, b"1"), store.put(unique_key, b"1")

    assert second.revision > first.revision
    assert store.get(unique_key) == second


def test_a_value_that_is_too_large_is_refused(store: ConsulStore, unique_key: str) -> None:
    """The server's own words say what its limit is."""
    with pytest.raises(StoreRefused, match="max size"):
        store.put(unique_key, b"x" * 600_000)


def test_foreign_bytes_in_a_leaders_value_survive(
    store: ConsulStore, session: ConsulSession, unique_key: str
) -> None:
    """A program that does not write UTF-8 is shown, not crashed on."""
    election = store.election(unique_key)
    election.enter(session, b"caf\xe9")

    leader = election.leader()

    assert leader is not None
    assert leader.value.encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_a_session_whose_name_is_left_out_is_there(
    store: ConsulStore,
    consul: Consul,
    opened: Opener,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer may leave out what is empty, or what a later release no longer tells."""
    far = opened(consul.url)
    info = far._client._consul.session.info

    def nameless(*words: Any, **options: Any) -> Any:
        index, found = info(*words, **options)
        return index, {name: value for name, value in found.items() if name != "Name"}

    monkeypatch.setattr(far._client._consul.session, "info", nameless)
    session = store.open_session(10)
    store.put(unique_key, b"1", session=session)

    assert far._client.session_name(session.id) == ""
    found = far.get(unique_key)
    assert found is not None
    assert found.session is not None
    session.close()
