"""Entries: reading, compare-and-set, fences, sessions, trees, and keys of every kind."""

from __future__ import annotations

import pytest

from leadership_core.errors import ConfigurationError, Conflict, Fenced, SessionLost
from leadership_core.store import ABSENT, Capability
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.consul.test_entries import KEYS
from tests.etcd.conftest import Opener
from tests.servers.etcd import Etcd


def test_put_get_delete(store: EtcdStore, unique_key: str) -> None:
    """A key is there, with what was put, until it is deleted; any bytes come back."""
    assert store.get(unique_key) is None

    for value in (b"1", b"", bytes(range(256)), b"x" * 1_500_000):
        entry = store.put(unique_key, value)
        assert store.get(unique_key) == entry
        assert (entry.key, entry.value) == (unique_key, value)

    assert store.delete(unique_key)
    assert not store.delete(unique_key)
    assert store.get(unique_key) is None


@pytest.mark.parametrize("name", KEYS)
def test_keys_arrive_as_they_are(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str, name: str
) -> None:
    """Read, write, list, elect and delete mean the same key, and etcd has it literally."""
    key = f"{unique_key}/{name}"
    entry = store.put(key, b"1")

    assert store.get(key) == entry
    assert store.list(unique_key) == [entry]
    assert shared_etcd.cli("get", "--print-value-only", key).stdout == "1\n"
    assert store.delete(key)

    assert store.election(key).enter(session, b"Frank").granted
    assert str(store.election(key).leader()) == "Frank"


def test_list_and_delete_tree_stop_at_the_slash(store: EtcdStore, unique_key: str) -> None:
    """`ab` has nothing to do with `abc/d`, nor with itself; the order is that of the keys."""
    for tail in ("", "c/d", "/x/y", "/a"):
        store.put(f"{unique_key}{tail}", b"1")

    assert [entry.key for entry in store.list(unique_key)] == [
        f"{unique_key}/a",
        f"{unique_key}/x/y",
    ]
    assert store.list(f"{unique_key}/nothing") == []
    assert store.delete_tree(unique_key) == 2
    assert store.delete_tree(unique_key) == 0
    assert store.list(unique_key) == []
    assert store.get(unique_key) is not None
    assert store.get(f"{unique_key}c/d") is not None


def test_a_long_list_comes_in_pages_and_is_of_one_moment(store: EtcdStore, unique_key: str) -> None:
    """More than a page of them, all there, each once, in order."""
    for number in range(1100):
        store.put(f"{unique_key}/{number:04}", b"x")

    found = store.list(unique_key)

    assert [entry.key for entry in found] == [f"{unique_key}/{n:04}" for n in range(1100)]
    assert store.delete_tree(unique_key) == 1100


def test_everything_is_below_the_empty_prefix(etcd: Etcd, opened: Opener) -> None:
    """The store hands it down for a URL without a prefix."""
    store = opened(etcd.url)
    entries = [store.put(key, b"1") for key in ("a", "b/c")]

    assert store.list("") == entries
    assert store.delete_tree("") == 2


def test_compare_and_set(store: EtcdStore, unique_key: str) -> None:
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


def test_an_entry_of_a_store_that_was_replaced_is_not_the_expected_one(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Its revision may come again there; value and session are compared, too."""
    entry = store.put(unique_key, b"1")
    others = [
        type(entry)(unique_key, b"2", entry.revision),
        type(entry)(unique_key, b"1", entry.revision, session.id),
        type(entry)(unique_key, b"1", entry.revision, "not one of etcd's"),
        type(entry)(unique_key, b"1", entry.revision, "f81d4fae7dec11d0a76500a0c91e6bf6"),
        type(entry)(unique_key, b"1", 1 << 63),
    ]

    for other in others:
        with pytest.raises(Conflict):
            store.put(unique_key, b"no", expect=other)
    assert store.get(unique_key) == entry


def test_an_entry_goes_with_its_session(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """It says which that is; a write without one lets it stay."""
    bound = store.put(unique_key, b"1", session=session)
    freed = store.put(f"{unique_key}/freed", b"1", session=session)
    assert bound.session == session.id
    assert store.get(unique_key) == bound
    freed = store.put(freed.key, b"2", expect=freed)

    session.close()

    assert store.get(unique_key) is None
    assert store.get(freed.key) == freed
    assert freed.session is None
    with pytest.raises(SessionLost):
        store.put(unique_key, b"1", session=session)


def test_a_session_of_another_store_is_refused(store: EtcdStore, unique_key: str) -> None:
    """With words, before anything is sent."""

    class Foreign:
        ttl = 1.0

        def __init__(self, name: str) -> None:
            self.id = name

        def renew(self) -> float:
            return 1.0

        def close(self) -> None: ...

    for name in ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "0x10000abcd", "-5", "0", "", "f" * 16):
        with pytest.raises(ConfigurationError, match="session"):
            store.put(unique_key, b"1", session=Foreign(name))


def test_a_fence_holds_exactly_as_long_as_its_term(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
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
    assert again.token is not None
    entry = store.put(data, b"2", expect=entry, fence=(unique_key, again.token))
    shared_etcd.cli("del", f"{unique_key}/{session.id}")
    with pytest.raises(Fenced):
        store.put(data, b"late", expect=entry, fence=(unique_key, again.token))
    assert store.get(data) == entry


def test_a_fence_of_an_overwritten_term_holds_no_more(
    shared_etcd: Etcd,
    store: EtcdStore,
    opened: Opener,
    session: EtcdSession,
    unique_key: str,
) -> None:
    """The term ended with that write, although a key with its create revision is still there."""
    claim = store.election(unique_key).enter(session, b"Frank")
    assert claim.token is not None
    fence = (unique_key, claim.token)
    store.put(f"{unique_key}/data", b"1", fence=fence)

    shared_etcd.cli("put", f"--lease={session.id}", f"{unique_key}/{session.id}", "Claire")

    for one in (store, opened(shared_etcd.url)):  # one knows already where the claim is
        with pytest.raises(Fenced):
            one.put(f"{unique_key}/data", b"late", fence=fence)


@pytest.mark.parametrize("token", [1, 0, -1, 1 << 62, 1 << 64])
def test_a_fence_without_a_claim_is_refused(store: EtcdStore, unique_key: str, token: int) -> None:
    """No term has that token."""
    store.put(f"{unique_key}/by-hand", b"1")

    with pytest.raises(Fenced):
        store.put(f"{unique_key}/data", b"1", fence=(unique_key, token))


def test_a_fence_of_a_claim_that_waits_is_refused(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """It stands, but it leads nobody; once it does, it may write with the same token."""
    election, data = store.election(unique_key), f"{unique_key}/data"
    first, second = election.enter(session, b"first"), election.enter(rival, b"second")
    fence = (unique_key, second.token or 0)
    with pytest.raises(Fenced):
        store.put(data, b"too early", fence=fence)
    assert store.get(data) is None

    election.withdraw(first)

    assert store.put(data, b"1", fence=fence) == store.get(data)


def test_a_fence_works_in_another_process(
    shared_etcd: Etcd, store: EtcdStore, opened: Opener, session: EtcdSession, unique_key: str
) -> None:
    """It is found by its token: who writes need not be the one who leads."""
    claim = store.election(unique_key).enter(session, b"Frank")
    assert claim.token is not None

    opened(shared_etcd.url).put(f"{unique_key}/data", b"1", fence=(unique_key, claim.token))

    assert store.get(f"{unique_key}/data") is not None


def test_every_write_has_a_revision_of_its_own(store: EtcdStore, unique_key: str) -> None:
    """Also one that changes nothing, and one that follows a deletion."""
    revisions = []
    for number in range(4):
        key = f"{unique_key}/{number % 2}"
        revisions += [store.put(key, b"1").revision, store.put(key, b"1").revision]
        store.delete(key)

    assert revisions == sorted(set(revisions))


def test_what_it_declares(store: EtcdStore) -> None:
    """All that there is; a silent session is gone half a second after its ttl."""
    assert store.capabilities == set(Capability)
    assert store.least_margin == 0
    assert store.expires_within(15) == 15.5


@pytest.mark.parametrize("size", [1_600_000, 5_000_000])
def test_a_value_that_is_too_large_is_refused(store: EtcdStore, unique_key: str, size: int) -> None:
    """The message says what the limit is."""
    with pytest.raises(ConfigurationError, match=r"1\.5 MiB"):
        store.put(unique_key, b"x" * size)


def test_foreign_bytes_survive(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """A program that does not write UTF-8 is shown, not crashed on."""
    election = store.election(unique_key)
    election.enter(session, b"\xff\xfe")
    from leadership_etcd.messages import put
    from leadership_etcd.methods import PUT

    store._client.call(PUT, put(f"{unique_key}/".encode() + b"\xff", b"1"))

    leader = election.leader()
    assert leader is not None
    assert leader.value.encode("utf-8", "surrogateescape") == b"\xff\xfe"
    foreign = next(e for e in store.list(unique_key) if e.session is None)
    assert store.get(foreign.key) == foreign
    assert store.delete(foreign.key)
