"""Entries: keys, lists, compare-and-set, fences and sessions."""

from __future__ import annotations

import pytest

from leadership_core import Fence
from leadership_core.backend.entries import ABSENT
from leadership_core.backend.protocols import Capability
from leadership_core.errors import ConfigurationError, Conflict, Fenced, SessionLost
from leadership_etcd.rpc import TXN, put_request, txn_request
from leadership_etcd.session import EtcdSession
from leadership_etcd.store import EtcdStore
from tests.integration.etcd.conftest import Opener
from tests.integration.etcd.tools import client_of
from tests.support.keys import SPECIAL_KEYS
from tests.support.servers.etcd import Etcd


@pytest.mark.parametrize("name", SPECIAL_KEYS)
def test_keys_are_stored_literally(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str, name: str
) -> None:
    """Read, write, list, elect and delete use the same key, and etcd has it as it is."""
    key = f"{unique_key}/{name}"
    entry = store.put(key, b"1")

    assert store.get(key) == entry
    assert store.list(unique_key) == [entry]
    assert shared_etcd.cli("get", "--print-value-only", key).stdout == "1\n"
    assert store.delete(key)

    assert store.election(key).enter(session, b"Frank").granted
    assert str(store.election(key).leader()) == "Frank"


def test_list_of_several_pages_is_complete(store: EtcdStore, unique_key: str) -> None:
    """It has all entries once and in order, more than fit on one page."""
    for number in range(1100):
        store.put(f"{unique_key}/{number:04}", b"x")

    found = store.list(unique_key)

    assert [entry.key for entry in found] == [f"{unique_key}/{n:04}" for n in range(1100)]
    assert store.delete_tree(unique_key) == 1100


def test_empty_prefix_lists_and_deletes_everything(etcd: Etcd, opened: Opener) -> None:
    """The library uses it for a URL without a prefix."""
    store = opened(etcd.url)
    entries = [store.put(key, b"1") for key in ("a", "b/c")]

    assert store.list("") == entries
    assert store.delete_tree("") == 2


def test_expected_entry_of_replaced_store_is_conflict(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Its revision may occur again there, so value and session are compared, too."""
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


def test_entry_bound_to_session_is_deleted_with_it(
    store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """It names its session; a later write without one unbinds it."""
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


def test_put_rejects_session_of_another_store(store: EtcdStore, unique_key: str) -> None:
    """No request is sent."""

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


def test_fence_allows_writes_exactly_during_its_term(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Writes fail after a resignation, in a new term of the same session, and after a deletion."""
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
    assert again.token is not None
    entry = store.put(data, b"2", expect=entry, fence=Fence(unique_key, again.token))
    shared_etcd.cli("del", f"{unique_key}/{session.id}")
    with pytest.raises(Fenced):
        store.put(data, b"late", expect=entry, fence=Fence(unique_key, again.token))
    assert store.get(data) == entry


def test_fence_is_closed_after_claim_was_overwritten(
    shared_etcd: Etcd,
    store: EtcdStore,
    opened: Opener,
    session: EtcdSession,
    unique_key: str,
) -> None:
    """The term ended with that write, although a key with its create revision still exists."""
    claim = store.election(unique_key).enter(session, b"Frank")
    assert claim.token is not None
    fence = Fence(unique_key, claim.token)
    store.put(f"{unique_key}/data", b"1", fence=fence)

    shared_etcd.cli("put", f"--lease={session.id}", f"{unique_key}/{session.id}", "Claire")

    for one in (store, opened(shared_etcd.url)):  # the first has the claim's key in its cache
        with pytest.raises(Fenced):
            one.put(f"{unique_key}/data", b"late", fence=fence)


@pytest.mark.parametrize("token", [1, 0, -1, 1 << 62, 1 << 64])
def test_fence_without_claim_is_rejected(store: EtcdStore, unique_key: str, token: int) -> None:
    """No term has that token."""
    store.put(f"{unique_key}/by-hand", b"1")

    with pytest.raises(Fenced):
        store.put(f"{unique_key}/data", b"1", fence=Fence(unique_key, token))


def test_fence_of_waiting_claim_is_rejected(
    store: EtcdStore, session: EtcdSession, rival: EtcdSession, unique_key: str
) -> None:
    """The claim exists but does not lead; once it does, the same token allows the write."""
    election, data = store.election(unique_key), f"{unique_key}/data"
    first, second = election.enter(session, b"first"), election.enter(rival, b"second")
    fence = Fence(unique_key, second.token or 0)
    with pytest.raises(Fenced):
        store.put(data, b"too early", fence=fence)
    assert store.get(data) is None

    election.withdraw(first)

    assert store.put(data, b"1", fence=fence) == store.get(data)


def test_fence_works_from_another_store(
    shared_etcd: Etcd, store: EtcdStore, opened: Opener, session: EtcdSession, unique_key: str
) -> None:
    """The claim is found by its token, so another process than the leader may write."""
    claim = store.election(unique_key).enter(session, b"Frank")
    assert claim.token is not None

    opened(shared_etcd.url).put(f"{unique_key}/data", b"1", fence=Fence(unique_key, claim.token))

    assert store.get(f"{unique_key}/data") is not None


def test_capabilities_and_expiry(store: EtcdStore) -> None:
    """The store has all capabilities; a session ends at most half a second after its ttl."""
    assert store.capabilities == set(Capability)
    assert store.least_margin == 0
    assert store.expires_within(15) == 15.5


def test_put_accepts_value_just_below_request_limit(store: EtcdStore, unique_key: str) -> None:
    """It is read back as it was written."""
    entry = store.put(unique_key, b"x" * 1_500_000)

    assert store.get(unique_key) == entry
    assert entry.value == b"x" * 1_500_000


@pytest.mark.parametrize("size", [1_600_000, 5_000_000])
def test_put_rejects_value_above_request_limit(
    store: EtcdStore, unique_key: str, size: int
) -> None:
    """The message names the limit."""
    with pytest.raises(ConfigurationError, match=r"1\.5 MiB"):
        store.put(unique_key, b"x" * size)


def test_keys_and_values_of_arbitrary_bytes_survive(
    shared_etcd: Etcd, store: EtcdStore, session: EtcdSession, unique_key: str
) -> None:
    """Bytes that are not UTF-8 can be read, listed and deleted."""
    election = store.election(unique_key)
    election.enter(session, b"\xff\xfe")
    key = f"{unique_key}/".encode() + b"\xff"
    client_of(store).call(TXN, txn_request(then=[put_request(key, b"1")]))

    leader = election.leader()
    assert leader is not None
    assert leader.value.encode("utf-8", "surrogateescape") == b"\xff\xfe"
    foreign = next(e for e in store.list(unique_key) if e.session is None)
    assert store.get(foreign.key) == foreign
    assert store.delete(foreign.key)
