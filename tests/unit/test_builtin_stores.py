"""The built-in stores on a clock that the test sets: sessions expire at an exact moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from leadership_core import Fence
from leadership_core.backend.protocols import Leading
from leadership_core.errors import ConfigurationError, Fenced, SessionLost, StoreClosed
from leadership_core.stores.memory import State
from tests.support.full_store import FullStore
from tests.support.waiting import Seen
from tests.unit.stores_harness import FakeClock, memory_store, sqlite_store

Open: TypeAlias = Callable[[], FullStore]
"""Opens one more store with the same content, as another process would."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def open_another(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> Iterator[Open]:
    state = State(clock)
    opened: list[FullStore] = []

    def open_one() -> FullStore:
        if request.param == "memory":
            opened.append(memory_store(state))
        else:
            opened.append(sqlite_store(tmp_path / "leadership.db", clock))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_another: Open) -> FullStore:
    return open_another()


def test_session_expires_its_ttl_after_the_last_renewal(
    store: FullStore, open_another: Open, clock: FakeClock
) -> None:
    """Its entry exists until exactly then, as another store reads it, and not afterwards."""
    other = open_another()
    session = store.open_session(10)
    entry = store.put("a", b"", session=session)
    assert entry.session == session.id

    clock.advance(9.9)
    assert session.renew() == 10
    clock.advance(9.9)
    assert other.get("a") == entry
    clock.advance(0.1)
    assert other.get("a") is None
    assert other.list("") == []


def test_ended_session_cannot_be_renewed(store: FullStore, clock: FakeClock) -> None:
    """Renewing a closed session and an expired one raises SessionLost, every time."""
    closed, expired = store.open_session(10), store.open_session(10)
    closed.close()
    clock.advance(10)

    for session in (closed, expired):
        with pytest.raises(SessionLost):
            session.renew()
        with pytest.raises(SessionLost):
            session.renew()


def test_put_with_an_ended_session_writes_nothing(store: FullStore, clock: FakeClock) -> None:
    """A closed session and an expired one raise SessionLost."""
    closed, expired = store.open_session(10), store.open_session(10)
    closed.close()
    clock.advance(10)

    for session in (closed, expired):
        with pytest.raises(SessionLost):
            store.put("a", b"", session=session)
        assert store.get("a") is None


def test_session_close_may_be_repeated_after_its_expiry(store: FullStore, clock: FakeClock) -> None:
    """Closing a session twice leaves another session's entries alone."""
    closed, expired, other = (store.open_session(ttl) for ttl in (10, 10, 99))
    kept = store.put("kept", b"", session=other)
    clock.advance(10)

    for session in (closed, expired):
        session.close()
        session.close()
    assert store.list("") == [kept]


def test_session_of_a_closed_store_expires(open_another: Open, clock: FakeClock) -> None:
    """A store that is closed without ending its session leaves it to its ttl, like a crash."""
    store, other = open_another(), open_another()
    entry = store.put("a", b"", session=store.open_session(10))
    store.close()

    assert other.get("a") == entry
    clock.advance(10)
    assert other.get("a") is None


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
def test_backend_rejects_an_invalid_ttl(store: FullStore, ttl: float) -> None:
    """The backend itself refuses a ttl that would end a session at once, or never."""
    with pytest.raises(ConfigurationError, match="ttl"):
        store.open_session(ttl)


def test_fenced_write_is_refused_once_the_session_has_expired(
    store: FullStore, clock: FakeClock
) -> None:
    """The clock alone decides: no read and no other write has to come first."""
    claim = store.put("leader", b"one", session=store.open_session(10))
    clock.advance(10)

    with pytest.raises(Fenced):
        store.put("data", b"", fence=Fence("leader", claim.revision))


def test_watch_reports_a_closed_and_an_expired_session(
    store: FullStore, open_another: Open, clock: FakeClock
) -> None:
    """The watch of the entry reports None, and the watch of its tree an empty list."""
    other, key, tree = open_another(), Seen(), Seen()
    watches = [store.watch("a/b", key), store.watch("a", tree, tree=True)]

    session = other.open_session(10)
    key.wait_for(entry := other.put("a/b", b"", session=session))
    tree.wait_for([entry])
    session.close()
    key.wait_for(None)
    tree.wait_for([])

    key.wait_for(entry := other.put("a/b", b"", session=other.open_session(10)))
    tree.wait_for([entry])
    clock.advance(10)
    assert other.get("a/b") is None
    key.wait_for(None)
    tree.wait_for([])
    for watch in watches:
        watch.close()


def test_second_watch_of_a_key_causes_no_report_of_the_first(store: FullStore) -> None:
    """The second watch reports the present state; the first has reported that already."""
    first, second = Seen(), Seen()
    watch = store.watch("a", first)
    entry = store.put("a", b"1")
    first.wait_for(entry)
    reported = len(first)

    late = store.watch("a", second)
    second.wait_for(entry)
    assert len(first) == reported
    watch.close()
    entry = store.put("a", b"2")
    second.wait_for(entry)
    assert len(first) == reported
    late.close()


def test_closed_backend_raises_store_closed(store: FullStore) -> None:
    """Every call of the backend itself raises, and a session of it cannot be renewed."""
    seen = Seen()
    watch = store.watch("a", seen)
    seen.wait_for(None)
    session = store.open_session(10)
    store.close()
    store.close()

    calls: list[Callable[[], object]] = [
        lambda: store.get("a"),
        lambda: store.list("a"),
        lambda: store.put("a", b""),
        lambda: store.delete("a"),
        lambda: store.watch("a", seen),
        lambda: store.open_session(1),
        session.renew,
    ]
    for call in calls:
        with pytest.raises(StoreClosed):
            call()
    watch.close()
    assert seen == [None]


def test_expires_within_is_close_to_the_ttl(store: FullStore) -> None:
    """A session ends at most 0.1 s after its ttl, and no margin is needed."""
    assert store.least_margin == 0.0
    assert 10 < store.expires_within(10) < 10.1


def test_election_passes_on_by_withdrawal_and_by_expiry(
    open_another: Open, clock: FakeClock
) -> None:
    """The core's election works on the store, and its tokens grow."""
    one, two = open_another(), open_another()
    tokens: list[int] = []

    first = one.election("e").enter(one.open_session(10), b"one")
    assert first.token is not None
    assert one.election("e").status(first) == Leading(first.token)
    tokens.append(first.token)
    assert two.election("e").enter(two.open_session(99), b"two").token is None
    one.election("e").withdraw(first)

    session = two.open_session(10)
    second = two.election("e").enter(session, b"two")
    assert second.token is not None
    leader = one.election("e").leader()
    assert leader is not None
    assert (leader.value, leader.token) == ("two", second.token)
    tokens.append(second.token)
    clock.advance(10)

    third = one.election("e").enter(one.open_session(10), b"one")
    assert third.token is not None
    tokens.append(third.token)
    assert tokens == sorted(set(tokens))
    with pytest.raises(Fenced):
        two.put("data", b"", fence=Fence("e", second.token))
