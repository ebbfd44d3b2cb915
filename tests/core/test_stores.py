"""What both stores of the core do alike; memory:// is the reference."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

from leadership_core.errors import (
    ConfigurationError,
    Conflict,
    Fenced,
    SessionLost,
    StoreClosed,
)
from leadership_core.memory import State
from leadership_core.store import ABSENT, Capability, Change, Entry, FullStore, Leading
from tests.core.stores_harness import FakeClock, Seen, memory_store, sqlite_store

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


# -- entries ----------------------------------------------------------------------------------


def test_a_key_that_is_not_there_is_none(store: FullStore) -> None:
    """Reading tells an absent key from an empty value."""
    assert store.get("a") is None


@pytest.mark.parametrize(
    "value", [b"", b"v", bytes(range(256)), random.Random(1).randbytes(1 << 20)], ids=len
)
def test_any_bytes_come_back_as_they_were(
    store: FullStore, open_another: Open, value: bytes
) -> None:
    """Empty, binary and large values are kept, and another process reads the same entry."""
    written = store.put("a/b", value)

    assert written == Entry("a/b", value, written.revision, None)
    assert store.get("a/b") == written
    assert open_another().get("a/b") == written


def test_revisions_grow_over_the_whole_store(store: FullStore) -> None:
    """A revision is never given twice, not even to a key that was deleted in between."""
    revisions = [store.put("a", b"").revision, store.put("b", b"").revision]
    store.delete("a")
    store.delete("b")
    revisions += [store.put("a", b"").revision, store.put("b", b"").revision]

    assert revisions == sorted(set(revisions))


def test_list_ends_at_the_slash(store: FullStore) -> None:
    """Only keys below the prefix are listed: neither itself nor those that begin like it."""
    for key in ("a/b", "a/b/c", "a/b/c/d", "a/b!", "a/b0", "a/bc", "a/bé", "a/c/b"):
        store.put(key, key.encode())

    assert [entry.key for entry in store.list("a/b")] == ["a/b/c", "a/b/c/d"]
    assert [entry.key for entry in store.list("a/c")] == ["a/c/b"]
    assert store.list("b") == []


def test_a_key_is_not_a_pattern(store: FullStore) -> None:
    """Characters that mean something in queries mean nothing in keys, and case matters."""
    for key in ("a%/x", "a_/x", "A/x", "a'/x", "日本/x", "\U0001f600/x"):
        store.put(key, key.encode())

    for key in ("a%", "a_", "A", "a'", "日本", "\U0001f600"):
        assert [entry.key for entry in store.list(key)] == [f"{key}/x"]
    assert store.list("a") == []


def test_delete_says_whether_it_was_there(store: FullStore) -> None:
    """Deleting twice is no error."""
    store.put("a", b"")

    assert store.delete("a") is True
    assert store.delete("a") is False
    assert store.get("a") is None


# -- compare-and-set --------------------------------------------------------------------------


def test_expect_absent_creates_only(store: FullStore) -> None:
    """Of two who create a key, the second learns that it is there."""
    first = store.put("a", b"1", expect=ABSENT)

    with pytest.raises(Conflict):
        store.put("a", b"2", expect=ABSENT)
    assert store.get("a") == first


def test_expect_entry_writes_only_over_it(store: FullStore) -> None:
    """An entry that was written since, deleted since, or made anew is not the expected one."""
    first = store.put("a", b"1")
    second = store.put("a", b"2", expect=first)

    with pytest.raises(Conflict):
        store.put("a", b"3", expect=first)
    with pytest.raises(Conflict):
        store.delete("a", expect=first)
    assert store.get("a") == second
    assert store.delete("a", expect=second)
    with pytest.raises(Conflict):
        store.put("a", b"3", expect=second)
    store.put("a", b"2")
    with pytest.raises(Conflict):
        store.delete("a", expect=second)


def test_delete_expecting_what_is_gone_is_false(store: FullStore) -> None:
    """A repeated conditional delete is answered like a repeated plain one."""
    entry = store.put("a", b"1")
    store.delete("a")

    assert store.delete("a", expect=entry) is False


def test_delete_expecting_absence_refuses_what_is_there(store: FullStore) -> None:
    """ABSENT holds for deleting, too."""
    store.put("a", b"1")

    with pytest.raises(Conflict):
        store.delete("a", expect=ABSENT)
    assert store.get("a") is not None


def test_threads_that_compare_and_set_lose_nothing(open_another: Open) -> None:
    """A counter that many threads of two stores raise has counted every one of them."""
    stores = [open_another(), open_another()]
    stores[0].put("n", b"0")

    def raise_it(store: FullStore) -> None:
        for _ in range(25):
            while True:
                entry = store.get("n")
                assert entry is not None
                try:
                    store.put("n", b"%d" % (int(entry.value) + 1), expect=entry)
                    break
                except Conflict:
                    continue

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(raise_it, stores[n % 2]) for n in range(8)]:
            future.result()
    found = stores[0].get("n")
    assert found is not None
    assert found.value == b"200"


# -- sessions ---------------------------------------------------------------------------------


def test_closing_a_session_takes_its_entries(store: FullStore, open_another: Open) -> None:
    """What is bound to it goes, what is not stays; another process sees that."""
    session = store.open_session(10)
    store.put("bound/1", b"", session=session)
    store.put("bound/2", b"", session=session)
    kept = store.put("free", b"")

    session.close()

    assert open_another().list("bound") == []
    assert store.get("bound/1") is None
    assert store.get("free") == kept


def test_a_session_ends_by_the_clock(
    store: FullStore, open_another: Open, clock: FakeClock
) -> None:
    """An entry is there until the ttl after the last renewal has passed, and not afterwards."""
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


def test_a_session_that_has_ended_is_not_renewed(store: FullStore, clock: FakeClock) -> None:
    """Whoever saw it gone must be able to rely on that."""
    closed, expired = store.open_session(10), store.open_session(10)
    closed.close()
    clock.advance(10)

    for session in (closed, expired):
        with pytest.raises(SessionLost):
            session.renew()
        with pytest.raises(SessionLost):
            session.renew()


def test_nothing_is_bound_to_a_session_that_has_ended(store: FullStore, clock: FakeClock) -> None:
    """A put with a dead session writes nothing."""
    closed, expired = store.open_session(10), store.open_session(10)
    closed.close()
    clock.advance(10)

    for session in (closed, expired):
        with pytest.raises(SessionLost):
            store.put("a", b"", session=session)
        assert store.get("a") is None


def test_closing_a_session_again_is_harmless(store: FullStore, clock: FakeClock) -> None:
    """Closing is idempotent, also when the clock was faster."""
    closed, expired = store.open_session(10), store.open_session(10)
    clock.advance(10)

    for session in (closed, expired):
        session.close()
        session.close()


def test_an_entry_follows_its_last_writer(store: FullStore) -> None:
    """Written without a session it is free, with another one it is that one's."""
    first, second = store.open_session(10), store.open_session(10)
    store.put("freed", b"", session=first)
    store.put("freed", b"")
    store.put("taken", b"", session=first)
    store.put("taken", b"", session=second)

    first.close()
    assert store.get("freed") is not None
    assert store.get("taken") is not None
    second.close()
    assert store.get("taken") is None


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ttl_that_is_no_time_is_refused(store: FullStore, ttl: float) -> None:
    """Such a session would end at once, or never."""
    with pytest.raises(ConfigurationError, match="ttl"):
        store.open_session(ttl)


def test_a_session_outlives_its_store(open_another: Open, clock: FakeClock) -> None:
    """A store that is closed without ending its session leaves it to the clock, like a crash."""
    store, other = open_another(), open_another()
    entry = store.put("a", b"", session=store.open_session(10))
    store.close()

    assert other.get("a") == entry
    clock.advance(10)
    assert other.get("a") is None


# -- fences -----------------------------------------------------------------------------------


def test_a_fenced_write_needs_the_claim_that_stands(store: FullStore) -> None:
    """It is done while the claim with that token is there, and refused afterwards."""
    session = store.open_session(10)
    claim = store.put("leader", b"one", session=session)
    fence = ("leader", claim.revision)

    done = store.put("data", b"1", fence=fence)
    store.delete("leader")
    with pytest.raises(Fenced):
        store.put("data", b"2", fence=fence)
    assert store.get("data") == done


def test_a_fence_holds_nothing_in_the_next_term(store: FullStore) -> None:
    """The next term of the same session, with the same value, does not revive it."""
    session = store.open_session(10)
    old = store.put("leader", b"one", session=session)
    store.delete("leader", expect=old)
    new = store.put("leader", b"one", session=session)

    with pytest.raises(Fenced):
        store.put("data", b"", fence=("leader", old.revision))
    store.put("data", b"", fence=("leader", new.revision))


def test_a_fence_ends_with_the_session(store: FullStore, clock: FakeClock) -> None:
    """The clock is enough: nobody has to have looked before."""
    claim = store.put("leader", b"one", session=store.open_session(10))
    clock.advance(10)

    with pytest.raises(Fenced):
        store.put("data", b"", fence=("leader", claim.revision))


def test_a_claim_without_a_session_is_none(store: FullStore) -> None:
    """An entry that somebody wrote by hand is no term."""
    entry = store.put("leader", b"one")

    with pytest.raises(Fenced):
        store.put("data", b"", fence=("leader", entry.revision))


# -- watches ----------------------------------------------------------------------------------


def test_a_watch_tells_the_state_and_every_last_change(
    store: FullStore, open_another: Open
) -> None:
    """From missing to created, changed, deleted and created again, by another process."""
    other, seen = open_another(), Seen()
    watch = store.watch("a", seen)

    seen.wait_for(None)
    for change in (b"1", b"2", None, b"3"):
        if change is None:
            other.delete("a")
            seen.wait_for(None)
        else:
            seen.wait_for(other.put("a", change))
    watch.close()


def test_a_watch_begins_with_what_is_there(store: FullStore) -> None:
    """The first thing told is the state, not the next change."""
    entry, seen = store.put("a", b"1"), Seen()
    watch = store.watch("a", seen)

    seen.wait_for(entry)
    assert seen.changes == [entry]
    watch.close()


def test_a_tree_watch_tells_all_that_is_below(store: FullStore, open_another: Open) -> None:
    """It tells the whole list, and nothing of keys that only begin alike."""
    other, seen = open_another(), Seen()
    watch = store.watch("a", seen, tree=True)
    seen.wait_for([])

    first = other.put("a/1", b"")
    seen.wait_for([first])
    deep = other.put("a/2/x", b"")
    seen.wait_for([first, deep])
    other.put("a", b"")
    other.put("ab/1", b"")
    other.delete("a/1")
    seen.wait_for([deep])
    other.delete("a/2/x")
    seen.wait_for([])
    watch.close()


def test_watches_of_one_key_do_not_disturb_each_other(store: FullStore) -> None:
    """Closing one of two leaves the other; a late one is told the state, the first nothing."""
    first, second = Seen(), Seen()
    watch = store.watch("a", first)
    entry = store.put("a", b"1")
    first.wait_for(entry)
    told = len(first.changes)

    late = store.watch("a", second)
    second.wait_for(entry)
    assert len(first.changes) == told
    watch.close()
    entry = store.put("a", b"2")
    second.wait_for(entry)
    assert len(first.changes) == told
    late.close()


def test_a_watch_is_told_when_a_session_ends(
    store: FullStore, open_another: Open, clock: FakeClock
) -> None:
    """Closed or expired, the entry goes for those who watch it, and for those of its tree."""
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


def test_a_callback_that_raises_goes_on_being_called(
    store: FullStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged; neither the writer nor the other watches notice."""
    seen, calm = Seen(), Seen()

    def fail(change: Change) -> None:
        seen(change)
        raise RuntimeError("a mistake of the user's")

    watches = [store.watch("a", fail), store.watch("a", calm)]
    for value in (b"1", b"2"):
        entry = store.put("a", value)
        seen.wait_for(entry)
        calm.wait_for(entry)
    for watch in watches:
        watch.close()
    assert "a mistake of the user's" in caplog.text


def test_nothing_is_told_after_close(store: FullStore) -> None:
    """Closing waits for a call that is under way in another thread, and is the end."""
    calling, proceed, seen = threading.Event(), threading.Event(), Seen()

    def slow(change: Change) -> None:
        if change is not None:
            calling.set()
            proceed.wait(5)
        seen(change)

    watch = store.watch("a", slow)
    seen.wait_for(None)
    writer = threading.Thread(target=lambda: store.put("a", b"1"))
    writer.start()
    assert calling.wait(3)
    closer = threading.Thread(target=watch.close)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    proceed.set()
    closer.join(3)
    writer.join(3)

    told = len(seen.changes)
    assert told == 2
    store.put("a", b"2")
    store.get("a")
    time.sleep(0.03)
    assert len(seen.changes) == told
    watch.close()


def test_a_callback_may_close_its_own_watch(store: FullStore) -> None:
    """That call is the last one, and does not wait for itself."""
    seen = Seen()

    def once(change: Change) -> None:
        seen(change)
        if change is not None:
            watch.close()

    watch = store.watch("a", once)
    seen.wait_for(None)
    entry = store.put("a", b"1")
    seen.wait_for(entry)
    store.put("a", b"2")
    time.sleep(0.03)

    assert seen.changes[-1] == entry


def test_a_callback_may_write(store: FullStore) -> None:
    """No lock of the store is held while it is called, and it ends with the last state."""
    seen = Seen()

    def raise_it(change: Change) -> None:
        seen(change)
        if isinstance(change, Entry) and int(change.value) < 5:
            store.put("n", b"%d" % (int(change.value) + 1), expect=change)

    watch = store.watch("n", raise_it)
    store.put("n", b"1")

    seen.wait(lambda change: isinstance(change, Entry) and change.value == b"5")
    watch.close()


def test_a_watch_in_a_storm_ends_with_the_last_state(open_another: Open) -> None:
    """However many writers there are, the watcher is left with what is there."""
    stores, seen = [open_another(), open_another()], Seen()
    watch = stores[0].watch("a", seen)

    def write(store: FullStore) -> None:
        for n in range(20):
            store.put("a", b"%d" % n)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(write, stores[n % 2]) for n in range(4)]:
            future.result()
    seen.wait_for(stores[0].get("a"))
    watch.close()
    revisions = [change.revision for change in seen.changes if isinstance(change, Entry)]
    assert revisions == sorted(set(revisions))


# -- the rest ---------------------------------------------------------------------------------


def test_a_closed_store_says_so(store: FullStore) -> None:
    """Every call raises, closing again does nothing, and its watches have ended."""
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
    assert seen.changes == [None]


def test_it_declares_what_it_has(store: FullStore) -> None:
    """All three capabilities, no margin of its own, and an expiry close to the ttl."""
    assert set(store.capabilities) == set(Capability)
    assert store.least_margin == 0.0
    assert 10 < store.expires_within(10) < 10.1


def test_an_election_passes_from_one_session_to_the_next(
    open_another: Open, clock: FakeClock
) -> None:
    """The core's election works on it: by withdrawal, by expiry, with growing tokens."""
    one, two = open_another(), open_another()
    tokens: list[int] = []

    first = one.election("e").enter(one.open_session(10), b"one")
    assert first.token is not None
    assert one.election("e").standing(first) == Leading(first.token)
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
        two.put("data", b"", fence=("e", second.token))
