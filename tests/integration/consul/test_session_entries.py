"""Entries that are bound to a session, and the companion session that holds them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core import Fence
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.entries import ABSENT
from leadership_core.errors import (
    ConfigurationError,
    Conflict,
    Fenced,
    NotApplied,
    SessionLost,
    StoreUnavailable,
)
from tests.conftest import ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import companion_of, encoded, raw, txn
from tests.support.servers.consul import Consul
from tests.support.waiting import Seen, at_most, wait_until


@pytest.fixture
def bound(consul: Consul, session: ConsulSession) -> Iterator[ConsulSession]:
    """A session for entries; its companion is ended after the test, too."""
    yield session
    if companion := companion_of(consul, session):
        consul.request("PUT", f"/v1/session/destroy/{companion}")


def behaviours(consul: Consul) -> dict[str, str]:
    """The behavior of each session at its end, by session id."""
    return {one["ID"]: one["Behavior"] for one in consul.request("GET", "/v1/session/list").body}


def test_entry_is_deleted_when_its_session_is_closed(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """It has the session id that the user knows, and no session is left at Consul."""
    seen = Seen()
    watch = store.watch(unique_key, seen)

    entry = store.put(unique_key, b"1", session=bound)

    assert entry.session == bound.id
    assert store.get(unique_key) == entry
    assert store.list(unique_key.rsplit("/", 1)[0]) == [entry]
    seen.wait(lambda change: change == entry)
    companion = companion_of(consul, bound)
    bound.close()
    assert store.get(unique_key) is None
    seen.wait(lambda change: change is None)
    assert companion is not None
    assert {bound.id, companion}.isdisjoint(behaviours(consul))
    watch.close()


def test_session_without_entries_has_no_companion(
    consul: Consul, bound: ConsulSession, store: ConsulStore, unique_key: str
) -> None:
    """An election uses one session, and one request for each renewal."""
    before = behaviours(consul)
    store.election(unique_key).enter(bound, b"Frank")
    bound.renew()

    assert companion_of(consul, bound) is None
    assert before[bound.id] == "release"
    store.put(f"{unique_key}/1", b"1", session=bound)
    store.put(f"{unique_key}/2", b"1", session=bound)
    companion = companion_of(consul, bound)
    assert companion is not None
    assert behaviours(consul)[companion] == "delete"


def test_entry_is_deleted_when_its_session_expires(store: ConsulStore, unique_key: str) -> None:
    """Entry and session exist for one ttl at least and two at most."""
    session = store.open_session(1)
    time.sleep(0.8)  # the companion is opened later, and expires with the session
    entry = store.put(unique_key, b"1", session=session)
    begun = time.monotonic()
    wait_until(lambda: store.get(unique_key) is None, seconds=4)

    assert 1 <= time.monotonic() - begun <= store.expires_within(1) + at_most(0.5)
    with pytest.raises(SessionLost):
        session.renew()
    with pytest.raises(SessionLost):
        store.put(unique_key, b"2", session=session)
    again = store.put(unique_key, b"2", expect=ABSENT)  # at once: no lock delay
    assert again.revision > entry.revision
    store.delete(unique_key)


@pytest.mark.parametrize("which", ["session", "companion"])
def test_loss_of_either_session_is_the_loss_of_both(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str, which: str
) -> None:
    """An operator destroys one of them: `renew` raises, and no entry is left."""
    store.put(unique_key, b"1", session=bound)
    companion = bound.companion()

    consul.request("PUT", f"/v1/session/destroy/{bound.id if which == 'session' else companion}")

    with pytest.raises(SessionLost):
        bound.renew()
    assert store.get(unique_key) is None
    assert {bound.id, companion}.isdisjoint(behaviours(consul))
    with pytest.raises(SessionLost):
        store.put(unique_key, b"2", session=bound)


def test_put_with_a_destroyed_session_is_refused(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """It is refused although the companion is alive and could lock the entry."""
    store.put(unique_key, b"1", session=bound)
    consul.request("PUT", f"/v1/session/destroy/{bound.id}")

    with pytest.raises(SessionLost):
        store.put(f"{unique_key}/2", b"2", session=bound)

    assert store.get(f"{unique_key}/2") is None


def test_put_with_a_closed_session_opens_no_companion(
    consul: Consul, store: ConsulStore, unique_key: str
) -> None:
    """The session was closed before any entry was bound."""
    before = behaviours(consul)
    session = store.open_session(10)
    session.close()

    with pytest.raises(SessionLost):
        store.put(unique_key, b"1", session=session)

    assert behaviours(consul).keys() <= before.keys()
    assert store.get(unique_key) is None


def test_put_with_fence_session_and_expect_checks_each(
    store: ConsulStore, bound: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """The error says which condition was not met."""
    election, key = store.election(unique_key), f"{unique_key}/data"
    claim = election.enter(rival, b"Frank")
    assert claim.token is not None
    fence = Fence(unique_key, claim.token)
    entry = store.put(key, b"1", expect=ABSENT, session=bound, fence=fence)

    with pytest.raises(Conflict) as conflict:
        store.put(key, b"2", expect=ABSENT, session=bound, fence=fence)
    assert not isinstance(conflict.value, Fenced)
    election.withdraw(claim)
    with pytest.raises(Fenced):
        store.put(key, b"2", expect=entry, session=bound, fence=fence)
    assert store.get(key) == entry


def test_late_copy_of_a_bound_put_is_refused(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """It names a session that does not exist any more."""
    store.put(unique_key, b"1", session=bound)
    companion = bound.companion()
    bound.close()

    copy = txn(
        consul,
        {"Verb": "delete", "Key": unique_key},
        {"Verb": "lock", "Key": unique_key, "Session": companion, "Value": encoded(b"1")},
    )

    assert copy.status == 409
    assert raw(consul, unique_key) is None


def test_bound_put_without_an_answer_can_be_repeated(
    consul: Consul, store: ConsulStore, opened: Opener, proxy: ProxyFactory, unique_key: str
) -> None:
    """Its outcome is unknown, whichever of its requests had no answer; a second call succeeds."""
    link = proxy(consul.port)
    far = opened(f"consul://127.0.0.1:{link.port}")
    session = far.open_session(10)
    link.cut("down")

    with pytest.raises(StoreUnavailable), call_timeout(0.5):
        far.put(unique_key, b"1", session=session)

    link.heal()
    entry = far.put(unique_key, b"1", session=session)
    assert entry.session == session.id
    assert store.get(unique_key) == entry  # another program reads the same session id
    session.close()
    assert store.get(unique_key) is None


def test_concurrent_puts_share_one_companion(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """A second companion is closed again; all entries are bound to the session."""
    before = behaviours(consul)
    barrier = threading.Barrier(4)

    def bind(number: int) -> None:
        barrier.wait()
        store.put(f"{unique_key}/{number}", b"1", session=bound)

    threads = [threading.Thread(target=bind, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(store.list(unique_key)) == 4
    assert behaviours(consul).keys() - before.keys() == {companion_of(consul, bound)}
    bound.close()
    assert store.list(unique_key) == []


def test_put_during_a_foreign_lock_delay_is_not_applied(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """A foreign lock that was invalidated blocks its key for a while; nothing is written."""
    foreign = consul.request("PUT", "/v1/session/create", {"TTL": "10s", "LockDelay": "5s"})
    consul.request("PUT", f"/v1/kv/{unique_key}?acquire={foreign.body['ID']}", b"theirs")
    consul.request("PUT", f"/v1/session/destroy/{foreign.body['ID']}")

    with pytest.raises(NotApplied, match="lock delay"):
        store.put(unique_key, b"1", session=bound)

    found = store.get(unique_key)
    assert found is not None
    assert found.value == b"theirs"


def test_session_of_another_store_is_refused(store: ConsulStore, unique_key: str) -> None:
    """A session of another kind of store cannot be bound to an entry here."""

    class Foreign:
        id, ttl = "x", 5.0

        def renew(self) -> float:
            return 5.0

        def close(self) -> None:
            pass

    with pytest.raises(ConfigurationError, match="not a session of a Consul store"):
        store.put(unique_key, b"1", session=Foreign())


def test_lock_delay_option_does_not_delay_entries(
    consul: Consul, opened: Opener, unique_key: str
) -> None:
    """It applies to elections; a lost entry can be bound again at once."""
    store = opened(f"{consul.url}?lock_delay=5")
    session, other = store.open_session(10), store.open_session(10)
    store.put(unique_key, b"1", session=session)
    consul.request("PUT", f"/v1/session/destroy/{companion_of(consul, session)}")

    entry = store.put(unique_key, b"2", expect=ABSENT, session=other)

    assert entry.session == other.id
    session.close()
    other.close()
