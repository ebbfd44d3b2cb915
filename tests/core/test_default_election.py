"""The election for stores that bring none, on one that lacks a store-wide revision, too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from leadership_core import (
    Absent,
    Candidate,
    Capability,
    ClaimUnknown,
    ConfigurationError,
    DefaultElection,
    Elected,
    Entry,
    Follower,
    Leading,
    Lost,
    LostReason,
    StoreHandle,
    StoreUnavailable,
    Waiting,
)
from leadership_core.default_election import _Epoch
from leadership_core.memory import MemoryStore, State
from tests.core.faulty import Fault, FaultyStore, eventually

WITHOUT = {Capability.GLOBAL_REVISION}


class Recounting(FaultyStore):
    """Its revisions begin anew when a key is deleted, as those of many stores do."""

    def __init__(self, state: State | None = None) -> None:
        super().__init__(state, without=WITHOUT)

    def _mine(self, entry: Entry | None) -> Entry | None:
        if entry is None:
            return None
        return Entry(entry.key, entry.value, 1, entry.session)

    def get(self, key: str) -> Entry | None:
        entry = super().get(key)
        return entry if key.endswith(".epoch") else self._mine(entry)

    def _theirs(self, key: str, how: dict[str, Any]) -> dict[str, Any]:
        """Compare with the entry of now if it looks like the expected one."""
        now = self.inner.get(key)
        if now is not None and not key.endswith(".epoch") and self._mine(now) == how.get("expect"):
            return {**how, "expect": now}
        return how

    def put(self, key: str, value: bytes, **how: Any) -> Entry:
        entry = super().put(key, value, **self._theirs(key, how))
        return entry if key.endswith(".epoch") else Entry(key, value, 1, entry.session)

    def delete(self, key: str, **how: Any) -> bool:
        return super().delete(key, **self._theirs(key, how))

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        def hear(change: Any) -> None:
            mine = not key.endswith(".epoch") and isinstance(change, Entry)
            on_change(self._mine(change) if mine else change)

        return super().watch(key, hear, tree=tree)


@pytest.fixture(params=["global", "per key", "recounting"])
def store(request: pytest.FixtureRequest) -> FaultyStore:
    """Three ways to count revisions."""
    match request.param:
        case "global":
            return FaultyStore()
        case "per key":
            return FaultyStore(without=WITHOUT)
        case _:
            return Recounting()


def test_tokens_grow_whatever_ends_a_term(store: FaultyStore) -> None:
    """Resign, deletion, a lost session, a restart with the same name."""
    tokens: list[int] = []
    ends: list[Callable[[Candidate], object]] = [
        lambda candidate: candidate.resign(0),
        lambda _: store.inner.delete("key"),
        lambda _: store.alive()[-1].inner.close(),
        lambda _: store.inner.put("key", b"by hand"),
    ]
    for _ in range(2):
        with store.opened() as handle:
            candidate = Candidate(handle, "key", "a", ttl=3)
            for end in ends:
                term = candidate.wait_elected(3)
                assert term is not None
                tokens.append(term.token)
                leader = handle.leader("key")
                assert leader is not None
                assert (leader.value, leader.token) == ("a", term.token)
                end(candidate)
                assert term.wait_lost(2)
        store.inner = MemoryStore(store.inner._state)

    assert len(tokens) == 8
    assert tokens == sorted(set(tokens))


def test_standing_of_a_claim(store: FaultyStore) -> None:
    """Leading, waiting, absent; never by another session's entry."""
    election = DefaultElection(store, "key")
    one, two = store.open_session(30), store.open_session(30)
    first = election.enter(one, b"a")
    second = election.enter(two, b"b")
    assert first.token is not None
    assert election.standing(first) == Leading(first.token)
    assert election.standing(second) == Waiting()
    assert second.token is None

    election.withdraw(first)
    assert election.standing(first) == Absent()
    assert election.standing(second) == Absent()
    election.withdraw(first)
    third = election.enter(two, b"b")
    assert third.token is not None
    assert third.token > first.token
    assert election.standing(first) == Waiting()
    election.withdraw(first)
    assert election.standing(third) == Leading(third.token)
    store.inner.put("key", b"by hand")
    assert election.standing(third) == Absent(overwritten=True)


def test_slow_winner_does_not_disturb(store: FaultyStore) -> None:
    """It won the key, slept, lost it, and counts its term when another one leads."""
    election = DefaultElection(store, "key")
    slow, quick = store.open_session(30), store.open_session(30)
    claims: list[Any] = []
    faulty_put, won, go_on = store.put, threading.Event(), threading.Event()

    def put(key: str, value: bytes, **how: Any) -> Entry:
        entry = faulty_put(key, value, **how)
        if how.get("session") is slow:
            won.set()
            go_on.wait(5)
        return entry

    store.put = put  # type: ignore[method-assign]
    sleeper = threading.Thread(target=lambda: claims.append(election.enter(slow, b"slow")))
    sleeper.start()
    assert won.wait(2)
    store.inner.delete("key")
    claim = election.enter(quick, b"quick")
    go_on.set()
    sleeper.join(2)

    assert election.standing(claims[0]) == Waiting()
    assert claim.token is not None
    assert election.standing(claim) == Leading(claim.token)
    leader = election.leader()
    assert leader is not None
    assert (leader.value, leader.token) == ("quick", claim.token)


def test_follower_sees_no_leader_before_the_term_is_counted() -> None:
    """The key is won, the token is not: nobody leads yet, least of all with an old token."""
    store = Recounting()
    with store.opened() as handle:
        before = Candidate(handle, "key", "a", ttl=3)
        term = before.wait_elected(3)
        before.stop()
        assert term is not None
        store.inject(Fault.HANGS, "put")
        candidate = Candidate(handle, "key", "b", ttl=3)
        candidate.run_for_election()
        assert eventually(lambda: store.inner.get("key"))
        follower = Follower(handle, "key")
        assert next(follower.follow_election()) is None
        assert handle.leader("key") is None

        store.heal()
        leader = follower.wait_leader(3)
        assert leader is not None
        assert leader.token > term.token


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.UNAVAILABLE, Fault.CRASHES_AFTER])
def test_claim_whose_term_is_not_counted_is_unknown(fault: Fault) -> None:
    """It is in the race and has no token: it must go."""
    store = FaultyStore(without=WITHOUT)
    store.inject(fault, "put", times=1)
    with store.opened() as handle:
        assert Candidate(handle, "key", "a", ttl=3).wait_elected(3)
        leader = handle.leader("key")
        assert leader is not None


SPOILT = [
    b"what is this", b"", b"7", b"7 0", b"-7 0 -", b"+7 0 -", b"7_0 0 -", b" 7 0 -", b"7.0 0 -",
    b"1e9 0 -", b"9" * 400 + b" 0 -", b"9" * 19 + b" 0 -", b"9" * 5000 + b" 0 -", b"7 x -",
    b"7 " + b"9" * 400 + b" -", b"\xd9\xa7 0 -", b"7 0 \xff",
]  # fmt: skip


@pytest.mark.parametrize("value", SPOILT, ids=lambda one: str(one[:12]))
def test_spoilt_epoch_says_what_to_do(value: bytes) -> None:
    """Somebody has written over the entry that counts the terms."""
    store = FaultyStore(without=WITHOUT)
    election = DefaultElection(store, "key")
    store.inner.put("key/.epoch", value)
    session = store.open_session(30)

    with pytest.raises(ClaimUnknown, match="put back '<last token> 0 -'"):
        election.enter(session, b"a")
    session.inner.close()
    store.inner.put("key/.epoch", b"41 0 -")
    assert election.enter(store.open_session(30), b"a").token == 42


def test_store_that_is_not_linearizable_is_no_endless_loop() -> None:
    """Everything that is written has changed already."""
    store = FaultyStore(without=WITHOUT)
    session = store.open_session(30)
    election = DefaultElection(store, "key")
    claim = election.enter(session, b"a")
    put, counter = store.inner.put, iter(range(10**6))
    real_get = store.get

    def get(key: str) -> Entry | None:
        entry = real_get(key)
        if entry is None or entry.session is None:
            put(key, f"{next(counter)} 0 -".encode())
        else:
            put(key, b"%d" % next(counter), session=session.inner)
        return entry

    store.get = get  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        election.withdraw(claim)


def test_watch_that_cannot_be_armed_leaves_no_half() -> None:
    """The leader is told by two entries; one watch without the other is closed."""
    store = FaultyStore(without=WITHOUT)
    watch, calls = store.watch, iter([True, False])

    def second_fails(*args: Any, **how: Any) -> Any:
        if next(calls):
            return watch(*args, **how)
        raise StoreUnavailable("no more watches")

    store.watch = second_fails  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        DefaultElection(store, "key").watch_leader(print)
    assert not store._watches


def test_store_without_sessions_has_no_elections() -> None:
    """Which is said when the candidate is made."""

    class Plain:
        capabilities = frozenset[Capability]()

        def close(self) -> None:
            pass

    with (
        StoreHandle(Plain(), "plain://x") as handle,  # type: ignore[arg-type]
        pytest.raises(ConfigurationError, match="no elections"),
    ):
        Candidate(handle, "key", "a")


class Blinking(FaultyStore):
    """Its watch sees only what is there when it looks, as one that polls."""

    def __init__(self) -> None:
        super().__init__()
        self.look: Callable[[], None] = lambda: None

    def watch(self, key: str, on_change: Callable[[Any], None], *, tree: bool = False) -> Any:
        seen: list[Entry | None] = []

        def look() -> None:
            entry = self.inner.get(key)
            if [entry] != seen:
                seen[:] = [entry]
                on_change(entry)

        self.look = look
        return super().watch(key, lambda _change: None, tree=tree)


def test_waiting_one_is_elected_although_its_watch_tells_nothing() -> None:
    """It asks again as long as the watch has not told what it has read."""
    store = Blinking()
    rival = store.open_session(30)
    held = store.put("key", b"rival", session=rival)
    with StoreHandle(store, "blinking://") as opened:
        candidate = Candidate(opened, "key", "waiting", ttl=9)
        assert candidate.wait_elected(0.3) is None

        store.delete("key", expect=held)

        assert candidate.wait_elected(6)


def test_answer_that_no_watch_has_told_is_not_relied_on() -> None:
    """A leader that came and went between two looks of the watch would not be heard of."""
    store = Blinking()
    election = DefaultElection(store, "key")
    mine, other = store.open_session(10), store.open_session(10)
    claim = election.enter(mine, b"mine")
    assert claim.granted
    watch = election.on_turn(claim, lambda: None)

    def is_watched() -> bool:
        standing = election.standing(claim)
        assert isinstance(standing, Leading | Waiting)
        return standing.watched

    assert not is_watched()
    store.look()
    assert is_watched()
    election.withdraw(claim)

    rival = election.enter(other, b"other")
    assert election.standing(claim) == Waiting()
    assert not is_watched()
    store.look()
    assert is_watched()

    election.withdraw(rival)
    assert election.standing(claim) == Absent()
    watch.close()


def test_session_ids_may_be_anything_that_has_a_text() -> None:
    """The epoch names the session by its text; an entry of a plugin may name it by a number."""
    numbered: Any = 100

    assert _Epoch(1, 5, "100").is_of(Entry("key", b"", 5, numbered))


def _end_session(store: FaultyStore) -> None:
    store.sessions[-1].inner.close()


def _delete(store: FaultyStore) -> None:
    store.inner.delete("key")


def _delete_and_take(store: FaultyStore) -> None:
    store.inner.delete("key")
    DefaultElection(store.inner, "key").enter(store.inner.open_session(30), b"another")


def _overwrite(store: FaultyStore) -> None:
    store.inner.put("key", b"by hand")


@pytest.mark.parametrize(
    ("befallen", "reason"),
    [
        (_end_session, LostReason.SESSION_LOST),
        (_delete, LostReason.DELETED),
        (_delete_and_take, LostReason.DELETED),
        (_overwrite, LostReason.OVERWRITTEN),
    ],
)
def test_a_loss_is_told_with_its_reason(
    befallen: Callable[[FaultyStore], None], reason: LostReason
) -> None:
    """Whether the claim was taken away, or has gone with its session, long before a renewal."""
    store = FaultyStore()
    with store.opened() as opened:
        candidate = Candidate(opened, "key", "mine", ttl=30)
        story = candidate.events()
        next(event for event in story if isinstance(event, Elected))

        befallen(store)

        assert next(event for event in story if isinstance(event, Lost)) == Lost(reason)
        candidate.stop(1)
