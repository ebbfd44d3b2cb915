"""The default election, also on stores whose revisions do not grow over the whole store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from leadership_core import (
    Candidate,
    Capability,
    ConfigurationError,
    Elected,
    Entry,
    Follower,
    Lost,
    LostReason,
    Store,
    StoreUnavailable,
)
from leadership_core.backend import Absent, ClaimOutcomeUnknown, DefaultElection, Leading, Waiting
from leadership_core.backend.default_election import _Epoch
from leadership_core.stores.memory import MemoryStore, State
from tests.support.waiting import eventually
from tests.unit.faulty import Fault, FaultyStore

WITHOUT = {Capability.GLOBAL_REVISION}


class Recounting(FaultyStore):
    """A store that counts each key's revisions from 1 again after a deletion, as many do."""

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
        """Return the present entry if it equals the expected one, without comparing revisions."""
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
    """A store of each of three kinds, which differ in how they count revisions."""
    match request.param:
        case "global":
            return FaultyStore()
        case "per key":
            return FaultyStore(without=WITHOUT)
        case _:
            return Recounting()


def test_tokens_grow_whatever_ends_a_term(store: FaultyStore) -> None:
    """A term ends by resignation, deletion, a lost session, or a restart with the same value."""
    tokens: list[int] = []
    ends: list[Callable[[Candidate], object]] = [
        lambda candidate: candidate.resign(0),
        lambda _: store.inner.delete("key"),
        lambda _: store.alive()[-1].inner.close(),
        lambda _: store.inner.put("key", b"by hand"),
    ]
    state = store.inner.state
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
        store.inner = MemoryStore(state)

    assert len(tokens) == 8
    assert tokens == sorted(set(tokens))


def test_status_of_a_claim(store: FaultyStore) -> None:
    """It is leading, waiting or absent; another session's entry never makes it leading."""
    election = DefaultElection(store, "key")
    one, two = store.open_session(30), store.open_session(30)
    first = election.enter(one, b"a")
    second = election.enter(two, b"b")
    assert first.token is not None
    assert election.status(first) == Leading(first.token)
    assert election.status(second) == Waiting()
    assert second.token is None

    election.withdraw(first)
    assert election.status(first) == Absent()
    assert election.status(second) == Absent()
    election.withdraw(first)
    third = election.enter(two, b"b")
    assert third.token is not None
    assert third.token > first.token
    assert election.status(first) == Waiting()
    election.withdraw(first)
    assert election.status(third) == Leading(third.token)
    store.inner.put("key", b"by hand")
    assert election.status(third) == Absent(overwritten=True)


def test_slow_winner_does_not_count_after_the_next_term(store: FaultyStore) -> None:
    """It won the key, paused, lost the key, and counts its term only while another one leads."""
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

    store.put = put  # type: ignore[method-assign]  # a stand-in for this test
    sleeper = threading.Thread(target=lambda: claims.append(election.enter(slow, b"slow")))
    sleeper.start()
    assert won.wait(2)
    store.inner.delete("key")
    claim = election.enter(quick, b"quick")
    go_on.set()
    sleeper.join(2)

    assert election.status(claims[0]) == Waiting()
    assert claim.token is not None
    assert election.status(claim) == Leading(claim.token)
    leader = election.leader()
    assert leader is not None
    assert (leader.value, leader.token) == ("quick", claim.token)


def test_follower_sees_no_leader_before_the_term_is_counted() -> None:
    """Between winning the key and its token there is no leader, and no old token is shown."""
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
def test_claim_without_a_counted_term_has_unknown_outcome(fault: Fault) -> None:
    """The claim is in the election without a token, so it has to be withdrawn."""
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
def test_invalid_epoch_error_names_the_remedy(value: bytes) -> None:
    """Another program has overwritten the entry that counts the terms."""
    store = FaultyStore(without=WITHOUT)
    election = DefaultElection(store, "key")
    store.inner.put("key/.epoch", value)
    session = store.open_session(30)

    with pytest.raises(ClaimOutcomeUnknown, match="write '<last token> 0 -' there"):
        election.enter(session, b"a")
    session.inner.close()
    store.inner.put("key/.epoch", b"41 0 -")
    assert election.enter(store.open_session(30), b"a").token == 42


def test_election_gives_up_on_a_store_that_is_not_linearizable() -> None:
    """On this store every entry has changed again before it can be written."""
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

    store.get = get  # type: ignore[method-assign]  # a stand-in for this test
    with pytest.raises(StoreUnavailable):
        election.withdraw(claim)


def test_watch_leader_closes_both_watches_if_one_fails() -> None:
    """The leader follows from two entries, so the remaining watch is useless."""
    store = FaultyStore(without=WITHOUT)
    watch, calls = store.watch, iter([True, False])

    def second_fails(*args: Any, **how: Any) -> Any:
        if next(calls):
            return watch(*args, **how)
        raise StoreUnavailable("no more watches")

    store.watch = second_fails  # type: ignore[method-assign]  # a stand-in for this test
    with pytest.raises(StoreUnavailable):
        DefaultElection(store, "key").watch_leader(print)
    assert store.armed_watches() == 0


def test_store_without_sessions_has_no_elections() -> None:
    """The error is raised when the candidate is made."""

    class Plain:
        capabilities = frozenset[Capability]()

        def close(self) -> None:
            pass

    with (
        Store(Plain(), "plain://x") as handle,  # type: ignore[arg-type]
        pytest.raises(ConfigurationError, match="no elections"),
    ):
        Candidate(handle, "key", "a")


class Blinking(FaultyStore):
    """A store whose watch reads the state at intervals only, as a polling one does."""

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


def test_waiting_candidate_is_elected_with_a_silent_watch() -> None:
    """It repeats the status query until the watch has reported the same state."""
    store = Blinking()
    rival = store.open_session(30)
    held = store.put("key", b"rival", session=rival)
    with Store(store, "blinking://") as opened:
        candidate = Candidate(opened, "key", "waiting", ttl=9)
        assert candidate.wait_elected(0.3) is None

        store.delete("key", expect=held)

        assert candidate.wait_elected(6)


def test_status_is_repeated_until_the_watch_has_reported_it() -> None:
    """Between two polls the watch would miss a leader that comes and goes."""
    store = Blinking()
    election = DefaultElection(store, "key")
    mine, other = store.open_session(10), store.open_session(10)
    claim = election.enter(mine, b"mine")
    assert claim.granted
    watch = election.watch_claim(claim, lambda: None)

    def is_watched() -> bool:
        status = election.status(claim)
        assert isinstance(status, Leading | Waiting)
        return status.watched

    assert not is_watched()
    store.look()
    assert is_watched()
    election.withdraw(claim)

    rival = election.enter(other, b"other")
    assert election.status(claim) == Waiting()
    assert not is_watched()
    store.look()
    assert is_watched()

    election.withdraw(rival)
    assert election.status(claim) == Absent()
    watch.close()


def test_session_ids_may_be_of_any_type_with_a_text() -> None:
    """The epoch has the text of the session id; entries of a plugin may have a number."""
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
def test_loss_has_its_reason(befallen: Callable[[FaultyStore], None], reason: LostReason) -> None:
    """The term ends with the right reason, long before the next renewal."""
    store = FaultyStore()
    with store.opened() as opened:
        candidate = Candidate(opened, "key", "mine", ttl=30)
        stream = candidate.events()
        next(event for event in stream if isinstance(event, Elected))

        befallen(store)

        assert next(event for event in stream if isinstance(event, Lost)) == Lost(reason)
        candidate.stop(1)
