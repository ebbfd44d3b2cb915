"""Two claims of one process: where the store orders claims, the next candidate waits at the store beside the leader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from leadership_core import Candidate, Follower, Store
from leadership_core.engine.messages import Phase
from leadership_core.engine.second_session import SecondSession
from leadership_core.engine.store_base import internals
from tests.support.internals import candidate_control
from tests.support.waiting import eventually
from tests.unit.faulty import Fault
from tests.unit.queue_store import QueueStore


@pytest.fixture
def faulty() -> QueueStore:
    return QueueStore()


@pytest.fixture
def opened(faulty: QueueStore) -> Iterator[Store]:
    with faulty.opened() as handle:
        yield handle
        faulty.heal()


def started(store: Store, number: int, ttl: float = 15, key: str = "key") -> list[Candidate]:
    """So many candidates of a key, of which the first leads."""
    candidates = [Candidate(store, key, str(name), ttl=ttl) for name in range(number)]
    for candidate in candidates:
        candidate.run_for_election()
    assert candidates[0].wait_elected(5)
    return candidates


def phases(candidates: list[Candidate]) -> list[Phase]:
    return [candidate_control(one).debug_state().phase for one in candidates]


def session_of(candidate: Candidate) -> str | None:
    return candidate_control(candidate).debug_state().session_id


def test_next_candidate_waits_at_the_store_with_another_session(
    faulty: QueueStore, opened: Store
) -> None:
    """The others wait in the process, and share the first one's."""
    candidates = started(opened, 1000)
    expected = [Phase.LEADING, Phase.WAITING, *[Phase.QUEUED] * 998]
    assert eventually(lambda: phases(candidates) == expected, 5)
    assert len({session_of(one) for one in candidates[:2]}) == 2
    assert {session_of(one) for one in candidates[2:]} == {session_of(candidates[0])}
    assert len(faulty.sessions) == 2
    assert faulty.calls["put_claim"] == 2


def test_handover_to_the_next_candidate_is_one_deletion(faulty: QueueStore, opened: Store) -> None:
    """Its claim is there already; the third makes one after that."""
    candidates = started(opened, 3)
    assert eventually(lambda: phases(candidates)[1] is Phase.WAITING, 5)
    faulty.inject(Fault.UNAVAILABLE, "put_claim")
    assert candidates[0].resign(60)
    assert candidates[1].wait_elected(5)
    faulty.heal()
    assert eventually(lambda: phases(candidates)[2] is Phase.WAITING, 10)


def test_candidates_lead_in_order_with_two_sessions(faulty: QueueStore, opened: Store) -> None:
    """Each claim is made once, each is elected in its turn, and one that has resigned joins the end."""
    candidates, seen = started(opened, 10), list[str]()
    follower = Follower(opened, "key")
    follower.add_listener(lambda event: seen.append(str(event)))
    follower.start()
    for number in range(40):
        leader = candidates[number % 10]
        assert leader.wait_elected(5)
        assert [one.value for one in candidates if one.is_leader] == [leader.value]
        if number % 3 == 0:
            assert eventually(lambda: Phase.WAITING in phases(candidates), 5)
        assert leader.resign(0)
    assert candidates[0].wait_elected(5)
    assert len(faulty.sessions) == 2
    assert eventually(lambda: Phase.WAITING in phases(candidates), 5)
    assert faulty.calls["put_claim"] == 42


def test_elections_with_one_candidate_each_have_one_session(
    faulty: QueueStore, opened: Store
) -> None:
    """A second one is opened where a key has two, and is that of all such keys."""
    for number in range(30):
        started(opened, 1, key=f"single/{number}")
    assert len(faulty.sessions) == 1
    crowded = [started(opened, 2, key=f"crowded/{number}") for number in range(10)]
    assert eventually(lambda: all(phases(one)[1] is Phase.WAITING for one in crowded), 10)
    assert len(faulty.sessions) == 2


def test_second_session_is_closed_when_no_key_needs_it(faulty: QueueStore, opened: Store) -> None:
    """With the last candidate; earlier, it is kept for a while."""
    candidates = started(opened, 2)
    assert eventually(lambda: phases(candidates)[1] is Phase.WAITING, 5)
    assert candidates[1].stop()
    assert len(faulty.alive()) == 2
    assert candidates[0].is_leader
    assert candidates[0].stop()
    assert eventually(lambda: not faulty.alive(), 5)


def test_second_session_that_no_candidate_uses_is_given_up() -> None:
    """Two ttls after it was needed, at the latest."""
    timers, offered, ended = list[Callable[[], None]](), list[str](), list[object]()
    context: Any = SimpleNamespace(
        scheduler=SimpleNamespace(call_later=lambda _, task: timers.append(task)),
        time_source=SimpleNamespace(now=lambda: 0.0),
    )
    second = SecondSession(
        *(context, 10.0),
        offer=offered.append,
        on_end=lambda *_: ended.append("end"),
        on_over=lambda _: ended.append("over"),
    )
    user = object()
    keeper: Any = SimpleNamespace(users={second: None, user: None}, ready=True)
    second.note_need("key")
    second.begin(keeper)
    timers.pop()()
    assert offered == ["key"]
    timers.pop()()
    assert not ended
    del keeper.users[user]
    timers.pop()()
    assert ended == ["end", "over"]
    assert not timers


def test_try_for_a_lock_that_is_held_in_the_process_makes_no_claim(
    faulty: QueueStore, opened: Store
) -> None:
    """It ends before the second place is offered."""
    started(opened, 1)
    claims = faulty.calls["put_claim"]
    assert [opened.lock("key", ttl=15).acquire(0) for _ in range(3)] == [None] * 3
    assert faulty.calls["put_claim"] == claims


def test_second_candidate_that_stops_gives_its_place_to_the_third(
    faulty: QueueStore, opened: Store
) -> None:
    """Its claim is withdrawn."""
    candidates = started(opened, 3)
    assert eventually(lambda: phases(candidates)[1] is Phase.WAITING, 5)
    assert candidates[1].stop()
    assert eventually(lambda: phases(candidates)[2] is Phase.WAITING, 5)
    assert len(faulty.inner.list("key")) == 2
    assert candidates[0].is_leader


def test_both_candidates_with_claims_stop_at_once(faulty: QueueStore, opened: Store) -> None:
    """The third leads."""
    candidates = started(opened, 4)
    assert eventually(lambda: phases(candidates)[1] is Phase.WAITING, 5)
    for candidate in candidates[:2]:
        candidate_control(candidate).begin_stop()
    assert candidates[2].wait_elected(5)
    assert eventually(lambda: phases(candidates)[3] is Phase.WAITING, 5)
    assert len(faulty.inner.list("key")) == 2


def test_second_candidate_whose_session_ends_returns_to_its_place(
    faulty: QueueStore, opened: Store
) -> None:
    """The leader goes on, and the order is kept."""
    candidates = started(opened, 4)
    assert eventually(lambda: phases(candidates)[1] is Phase.WAITING, 5)
    term = candidates[0].term

    def waits_alive(candidate: Candidate) -> bool:
        return session_of(candidate) in {one.id for one in faulty.alive()}

    (second,) = [one for one in faulty.sessions if one.id == session_of(candidates[1])]
    second.inner.close()
    assert eventually(lambda: second not in faulty.alive(), 5)
    expected = [Phase.LEADING, Phase.WAITING, Phase.QUEUED, Phase.QUEUED]
    assert eventually(lambda: phases(candidates) == expected and waits_alive(candidates[1]), 20)
    assert candidates[0].term is term
    for number in range(3):
        candidates[number].resign(60)
        assert candidates[number + 1].wait_elected(5)


def test_second_candidate_is_elected_when_the_leaders_session_ends(
    faulty: QueueStore, opened: Store
) -> None:
    """Its claim is the first then; the others move to a session that lives, and lead after it."""
    candidates = started(opened, 4)
    assert eventually(lambda: phases(candidates)[1] is Phase.WAITING, 5)
    (first,) = [one for one in faulty.sessions if one.id == session_of(candidates[0])]
    first.inner.close()
    assert candidates[1].wait_elected(20)
    assert not candidates[0].is_leader
    candidates[1].resign(60)
    rest = [candidates[0], *candidates[2:]]
    assert eventually(lambda: any(one.is_leader for one in rest), 10)


def test_handover_goes_on_without_a_second_session(faulty: QueueStore, opened: Store) -> None:
    """As on stores that do not order claims: the next one enters after the withdrawal."""
    candidates = started(opened, 1)
    faulty.inject(Fault.UNAVAILABLE, "open_session")
    candidates += [Candidate(opened, "key", name, ttl=15) for name in "bc"]
    for candidate in candidates[1:]:
        candidate.run_for_election()
    assert candidates[-1].wait_elected(0.1) is None
    assert phases(candidates) == [Phase.LEADING, Phase.QUEUED, Phase.QUEUED]
    assert candidates[0].resign(60)
    assert candidates[1].wait_elected(5)
    faulty.heal()
    assert eventually(lambda: phases(candidates)[2] is Phase.WAITING, 20)


def test_candidates_with_different_ttls_follow_each_other_with_their_own_sessions(
    faulty: QueueStore, opened: Store
) -> None:
    """Those differ in any case."""
    (first,) = started(opened, 1)
    second = Candidate(opened, "key", "b", ttl=20)
    second.run_for_election()
    assert eventually(lambda: phases([second]) == [Phase.WAITING], 5)
    assert sorted(session.ttl for session in faulty.sessions) == [15, 20]
    assert first.resign(60)
    assert second.wait_elected(5)


def test_session_of_the_leader_is_not_used_for_the_second_claim(
    faulty: QueueStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test makes the pool offer that session to the candidate."""
    sessions = internals(opened).engine.sessions
    monkeypatch.setattr(sessions, "beside", lambda other, mine, *_: mine)
    candidates = started(opened, 2)
    assert eventually(lambda: faulty.calls["watch"] > 0, 5)
    assert candidates[1].wait_elected(0.3) is None
    assert faulty.calls["put_claim"] == 1
    assert candidates[0].is_leader
