"""Entries that go with a session: what binds them, what unbinds them, and what ends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.budget import budget
from leadership_core.errors import (
    ConfigurationError,
    Conflict,
    Fenced,
    NotDone,
    SessionLost,
    StoreUnavailable,
)
from leadership_core.store import ABSENT
from tests.conftest import ProxyFactory
from tests.consul.conftest import Opener
from tests.consul.tools import Seen, encoded, raw, txn, wait_until
from tests.servers.consul import Consul


@pytest.fixture
def bound(consul: Consul, session: ConsulSession) -> Iterator[ConsulSession]:
    """A session for entries; the companion that it opens is ended after the test, too."""
    yield session
    if session._companion is not None:
        consul.request("PUT", f"/v1/session/destroy/{session._companion}")


def behaviours(consul: Consul) -> dict[str, str]:
    """What becomes of the keys of each session that there is."""
    return {one["ID"]: one["Behavior"] for one in consul.request("GET", "/v1/session/list").body}


def test_an_entry_goes_when_its_session_is_closed(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """It names the session that the user knows, is watched, and leaves nothing at Consul."""
    seen = Seen()
    watch = store.watch(unique_key, seen)

    entry = store.put(unique_key, b"1", session=bound)

    assert entry.session == bound.id
    assert store.get(unique_key) == entry
    assert store.list(unique_key.rsplit("/", 1)[0]) == [entry]
    seen.wait(lambda change: change == entry)
    bound.close()
    assert store.get(unique_key) is None
    seen.wait(lambda change: change is None)
    assert {bound.id, bound._companion}.isdisjoint(behaviours(consul))
    watch.close()


def test_a_session_without_entries_has_no_companion(
    consul: Consul, bound: ConsulSession, store: ConsulStore, unique_key: str
) -> None:
    """What an election uses costs one session, and one request a renewal."""
    before = behaviours(consul)
    store.election(unique_key).enter(bound, b"Frank")
    bound.renew()

    assert bound._companion is None
    assert before[bound.id] == "release"
    store.put(f"{unique_key}/1", b"1", session=bound)
    store.put(f"{unique_key}/2", b"1", session=bound)
    assert bound._companion is not None
    assert behaviours(consul)[bound._companion] == "delete"


def test_an_entry_goes_when_nobody_renews_its_session(store: ConsulStore, unique_key: str) -> None:
    """It is there for a ttl and gone after two, as is the session; to bind another is refused."""
    session = store.open_session(1)
    time.sleep(0.8)  # the companion begins later, and ends with the session all the same
    entry = store.put(unique_key, b"1", session=session)
    begun = time.monotonic()
    wait_until(lambda: store.get(unique_key) is None, seconds=4)

    assert 1 <= time.monotonic() - begun <= store.expires_within(1) + 0.5
    with pytest.raises(SessionLost):
        session.renew()
    with pytest.raises(SessionLost):
        store.put(unique_key, b"2", session=session)
    again = store.put(unique_key, b"2", expect=ABSENT)  # at once: no lock delay
    assert again.revision > entry.revision
    store.delete(unique_key)


def test_renewals_keep_entries(store: ConsulStore, bound: ConsulSession, unique_key: str) -> None:
    """Both sessions are renewed, so the entry outlives what would have ended it."""
    session = store.open_session(1)
    entry = store.put(unique_key, b"1", session=session)
    for _ in range(8):
        time.sleep(0.4)
        assert session.renew() == 1

    assert store.get(unique_key) == entry
    session.close()
    assert store.get(unique_key) is None


@pytest.mark.parametrize("which", ["session", "companion"])
def test_the_loss_of_either_is_the_loss_of_the_session(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str, which: str
) -> None:
    """Whichever an operator destroys: the renewal says so, and no entry is left."""
    store.put(unique_key, b"1", session=bound)
    companion = bound.companion()

    consul.request("PUT", f"/v1/session/destroy/{bound.id if which == 'session' else companion}")

    with pytest.raises(SessionLost):
        bound.renew()
    assert store.get(unique_key) is None
    assert {bound.id, companion}.isdisjoint(behaviours(consul))
    with pytest.raises(SessionLost):
        store.put(unique_key, b"2", session=bound)


def test_a_put_with_a_session_that_was_destroyed_is_refused(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """Although its companion lives, and could still lock."""
    store.put(unique_key, b"1", session=bound)
    consul.request("PUT", f"/v1/session/destroy/{bound.id}")

    with pytest.raises(SessionLost):
        store.put(f"{unique_key}/2", b"2", session=bound)

    assert store.get(f"{unique_key}/2") is None


def test_a_put_with_a_closed_session_binds_to_nothing(
    consul: Consul, store: ConsulStore, unique_key: str
) -> None:
    """Closed before anything was bound: no companion comes into being any more."""
    before = behaviours(consul)
    session = store.open_session(10)
    session.close()

    with pytest.raises(SessionLost):
        store.put(unique_key, b"1", session=session)

    assert behaviours(consul).keys() <= before.keys()
    assert store.get(unique_key) is None


def test_a_write_without_a_session_unbinds(
    store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """The entry stays when the session goes; and may be bound again, to another one."""
    first = store.put(unique_key, b"1", session=bound)
    second = store.put(unique_key, b"1", expect=first)
    assert (second.session, second.revision > first.revision) == (None, True)
    third = store.put(f"{unique_key}/2", b"1", session=bound)
    fourth = store.put(f"{unique_key}/2", b"2")

    bound.close()

    assert store.get(unique_key) == second
    assert store.get(f"{unique_key}/2") == fourth
    assert third.session is not None


def test_a_later_session_takes_an_entry_over(
    store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """From then on it goes with that one, and not with the first."""
    other = store.open_session(10)
    store.put(unique_key, b"1", session=bound)
    taken = store.put(unique_key, b"2", session=other)

    bound.close()

    assert taken.session == other.id
    assert store.get(unique_key) == taken
    other.close()
    assert store.get(unique_key) is None


def test_compare_and_set_with_a_session(
    store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """The guards are those of every write, and a refused one changes and binds nothing."""
    first = store.put(unique_key, b"1", expect=ABSENT, session=bound)
    with pytest.raises(Conflict):
        store.put(unique_key, b"no", expect=ABSENT, session=bound)
    second = store.put(unique_key, b"2", expect=first, session=bound)
    with pytest.raises(Conflict):
        store.put(unique_key, b"no", expect=first, session=bound)

    assert store.get(unique_key) == second
    assert store.delete(unique_key, expect=second)
    with pytest.raises(Conflict):
        store.put(unique_key, b"no", expect=second, session=bound)
    assert store.get(unique_key) is None


def test_fence_session_and_comparison_in_one_write(
    store: ConsulStore, bound: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """Each is checked, and the error says which one it was."""
    election, key = store.election(unique_key), f"{unique_key}/data"
    claim = election.enter(rival, b"Frank")
    assert claim.token is not None
    fence = (unique_key, claim.token)
    entry = store.put(key, b"1", expect=ABSENT, session=bound, fence=fence)

    with pytest.raises(Conflict) as conflict:
        store.put(key, b"2", expect=ABSENT, session=bound, fence=fence)
    assert not isinstance(conflict.value, Fenced)
    election.withdraw(claim)
    with pytest.raises(Fenced):
        store.put(key, b"2", expect=entry, session=bound, fence=fence)
    assert store.get(key) == entry


def test_a_late_copy_of_a_bound_write_binds_nothing_after_the_session(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """It names a session that is gone, and Consul refuses it."""
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


def test_an_answer_that_is_lost_may_have_written(
    consul: Consul, store: ConsulStore, opened: Opener, proxy: ProxyFactory, unique_key: str
) -> None:
    """It is told as unknown, whichever of the requests it was; a second try finds its way."""
    link = proxy(consul.port)
    far = opened(f"consul://127.0.0.1:{link.port}")
    session = far.open_session(10)
    link.cut("down")

    with pytest.raises(StoreUnavailable), budget(0.5):
        far.put(unique_key, b"1", session=session)

    link.heal()
    entry = far.put(unique_key, b"1", session=session)
    assert entry.session == session.id
    assert store.get(unique_key) == entry  # another program knows the session by the same name
    session.close()
    assert store.get(unique_key) is None


def test_threads_that_bind_at_once_share_one_companion(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """The one that came second is closed again; all entries go with the session."""
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
    assert behaviours(consul).keys() - before.keys() == {bound._companion}
    bound.close()
    assert store.list(unique_key) == []


def test_a_lock_delay_of_somebody_elses_is_waited_for(
    consul: Consul, store: ConsulStore, bound: ConsulSession, unique_key: str
) -> None:
    """A foreign lock that was lost keeps its key for a while: nothing is written, and that is sure."""
    foreign = consul.request("PUT", "/v1/session/create", {"TTL": "10s", "LockDelay": "5s"})
    consul.request("PUT", f"/v1/kv/{unique_key}?acquire={foreign.body['ID']}", b"theirs")
    consul.request("PUT", f"/v1/session/destroy/{foreign.body['ID']}")

    with pytest.raises(NotDone, match="lock delay"):
        store.put(unique_key, b"1", session=bound)

    found = store.get(unique_key)
    assert found is not None
    assert found.value == b"theirs"


def test_a_foreign_session_is_refused(store: ConsulStore, unique_key: str) -> None:
    """One of another kind of store cannot hold anything here."""

    class Foreign:
        id, ttl = "x", 5.0

        def renew(self) -> float:
            return 5.0

        def close(self) -> None:
            pass

    with pytest.raises(ConfigurationError, match="not a session of a Consul store"):
        store.put(unique_key, b"1", session=Foreign())


def test_a_lock_delay_of_our_own_does_not_delay_entries(
    consul: Consul, opened: Opener, unique_key: str
) -> None:
    """The one of the URL is for elections; what was lost can be bound anew at once."""
    store = opened(f"{consul.url}?lock_delay=5")
    session, other = store.open_session(10), store.open_session(10)
    store.put(unique_key, b"1", session=session)
    consul.request("PUT", f"/v1/session/destroy/{session._companion}")

    entry = store.put(unique_key, b"2", expect=ABSENT, session=other)

    assert entry.session == other.id
    session.close()
    other.close()
