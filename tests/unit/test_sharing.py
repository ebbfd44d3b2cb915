"""Many candidates of one store: one session, few threads, and no interference."""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress

import pytest

from leadership_core import Candidate, LeadershipLost, NotElected, Store, StoreUnavailable
from leadership_core.backend import Claim, ClaimOutcomeUnknown, Session
from leadership_core.engine.messages import Phase
from leadership_core.engine.store_base import internals
from tests.support.internals import candidate_control
from tests.support.waiting import eventually
from tests.unit.faulty import Fault, FaultyStore


def thread_count() -> int:
    """The number of the library's threads."""
    return sum(one.name.startswith("leadership") for one in threading.enumerate())


def test_candidates_with_the_same_ttl_share_a_session(faulty: FaultyStore, opened: Store) -> None:
    """A hundred of them use at most 16 threads."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=15) for number in range(100)]
    for candidate in candidates:
        candidate.run_for_election()
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates))

    assert len(faulty.alive()) == 1
    assert thread_count() <= 16


def test_candidates_of_two_stores_wait_for_each_other_at_the_store(
    faulty: FaultyStore, opened: Store
) -> None:
    """Their queues are independent: each has a claim, and is woken by the watch of it."""
    with FaultyStore(faulty.inner.state).opened() as other:
        first, second = Candidate(opened, "key", "a", ttl=3), Candidate(other, "key", "b", ttl=3)
        assert first.wait_elected(3)
        assert second.wait_elected(0.1) is None
        assert len(faulty.inner.state.debug_state().sessions) == 2

        first.resign(30)
        assert second.wait_elected(1)


def test_thousand_candidates_of_a_key_have_one_session_and_one_claim(
    faulty: FaultyStore, opened: Store
) -> None:
    """Those that wait cost neither a session nor a thread nor a request."""
    threads = thread_count()
    candidates = [Candidate(opened, "key", str(number), ttl=15) for number in range(1000)]
    for candidate in candidates:
        candidate.run_for_election()
    assert candidates[0].wait_elected(15)
    assert candidates[-1].wait_elected(0) is None

    assert len(faulty.sessions) == 1
    assert faulty.calls["put_claim"] == 1
    assert thread_count() - threads <= 10
    for candidate in candidates[1:]:
        candidate.stop()
    assert faulty.calls["put_claim"] == 1
    assert candidates[0].is_leader


def test_candidate_that_starts_while_another_enters_shares_its_session(
    faulty: FaultyStore, opened: Store
) -> None:
    """It has to wait in any case, so the request that is under way is no reason for a second session."""
    faulty.inject(Fault.HANGS, "put_claim")
    first, second = (Candidate(opened, "key", name, ttl=15) for name in "ab")
    first.run_for_election()
    assert eventually(lambda: candidate_control(first).debug_state().phase is Phase.ENTERING)
    second.run_for_election()
    assert eventually(lambda: candidate_control(second).debug_state().phase is Phase.QUEUED)
    faulty.heal()
    assert first.wait_elected(5)
    assert len(faulty.sessions) == 1
    assert first.resign(30)
    assert second.wait_elected(5)
    assert len(faulty.sessions) == 1


def test_candidates_of_a_key_lead_in_the_order_in_which_they_have_started(
    faulty: FaultyStore, opened: Store
) -> None:
    """Each claim is made once, and one that has resigned joins the end."""
    candidates = [Candidate(opened, "key", str(number), ttl=15) for number in range(30)]
    for candidate in candidates:
        candidate.run_for_election()
    for number in range(60):
        leader = candidates[number % 30]
        assert leader.wait_elected(5)
        assert [one.value for one in candidates if one.is_leader] == [leader.value]
        assert leader.resign(0)
    assert candidates[0].wait_elected(5)
    assert faulty.calls["put_claim"] == 61
    assert len(faulty.sessions) == 1


def test_candidates_of_a_key_keep_their_order_when_their_session_is_lost(
    faulty: FaultyStore, opened: Store
) -> None:
    """They wait for another session, and keep their places."""
    candidates = [Candidate(opened, "key", str(number), ttl=15) for number in range(10)]
    for candidate in candidates:
        candidate.run_for_election()
    assert candidates[0].wait_elected(5)
    faulty.sessions[0].inner.close()

    def settled() -> bool:
        states = [candidate_control(one).debug_state() for one in candidates]
        phases = sorted((one.phase for one in states), key=lambda phase: phase.name)
        ids = {one.session_id for one in states}
        return phases == [Phase.LEADING, *[Phase.QUEUED] * 9] and ids == {faulty.sessions[-1].id}

    assert eventually(lambda: len(faulty.sessions) == 2 and settled(), 20)
    leader = next(one for one in candidates if one.is_leader)
    # The first one has led: it has joined the end.
    rest = [one for one in [*candidates[1:], candidates[0]] if one is not leader]
    leader.resign(60)
    for one in rest:
        assert one.wait_elected(5)
        one.resign(60)


def test_candidates_with_different_ttls_are_in_one_queue(
    faulty: FaultyStore, opened: Store
) -> None:
    """Each ttl has a session, and the key has one claim."""
    candidates = [Candidate(opened, "key", str(ttl), ttl=ttl) for ttl in (3, 4, 3, 4)]
    for candidate in candidates:
        assert candidate.wait_elected(3 if candidate is candidates[0] else 0) is None or (
            candidate is candidates[0]
        )
    assert faulty.calls["put_claim"] == 1
    assert sorted(session.ttl for session in faulty.alive()) == [3, 4]
    for before, after in itertools.pairwise(candidates):
        before.resign(30)
        assert after.wait_elected(3)


def test_session_with_an_orphaned_claim_does_not_enter_the_key_again(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next candidate of the key does that with another session."""
    other = Candidate(opened, "other", "a", ttl=3)
    assert other.wait_elected(3)
    election, sessions = internals(opened).engine.election("key"), list[str]()
    enter = election.enter

    def lost(session: Session, value: bytes) -> Claim:
        sessions.append(session.id)
        if len(sessions) > 1:
            return enter(session, value)
        claim = Claim("key", session, value, settled=False)
        raise ClaimOutcomeUnknown("no answer", claim)

    monkeypatch.setattr(election, "enter", lost)
    candidates = [Candidate(opened, "key", name, ttl=3) for name in "ab"]
    for candidate in candidates:
        candidate.run_for_election()

    assert eventually(lambda: any(candidate.is_leader for candidate in candidates), 5)
    assert len(sessions) == 2
    assert sessions[0] != sessions[1]
    assert other.is_leader


def test_candidates_with_different_ttls_use_different_sessions(
    faulty: FaultyStore, opened: Store
) -> None:
    """A session has one ttl."""
    for ttl in (3, 4, 3):
        assert Candidate(opened, f"key{len(faulty.sessions)}-{ttl}", "a", ttl=ttl).wait_elected(3)

    assert sorted(session.ttl for session in faulty.sessions) == [3, 4]


def test_stop_withdraws_only_the_own_claim(faulty: FaultyStore, opened: Store) -> None:
    """The session is closed with its last user."""
    first, second = (Candidate(opened, name, "a", ttl=3) for name in ("one", "two"))
    assert first.wait_elected(3)
    term = second.wait_elected(3)
    assert term is not None

    assert first.stop()
    assert second.term is term
    assert faulty.inner.get("one") is None
    assert len(faulty.alive()) == 1
    second.stop()
    assert eventually(lambda: not faulty.alive(), 1)


def test_lost_session_ends_the_terms_of_all_its_users(faulty: FaultyStore, opened: Store) -> None:
    """The first answer ends them all; all lead again long before the next renewal."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=60) for number in range(50)]
    for candidate in candidates:
        candidate.run_for_election()
    terms = [candidate.wait_elected(3) for candidate in candidates]
    faulty.sessions[0].inner.close()

    assert eventually(lambda: all(term is not None and term.lost for term in terms), 1)
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates), 2)
    assert len(faulty.alive()) == 1
    for before, candidate in zip(terms, candidates, strict=True):
        after = candidate.term
        assert before is not None
        assert after is not None
        assert after.token > before.token


def test_hanging_requests_do_not_end_terms_of_other_candidates(
    faulty: FaultyStore, opened: Store
) -> None:
    """Renewals have a thread that serves no other requests."""
    leading = [Candidate(opened, f"key/{number}", "a", ttl=0.9) for number in range(10)]
    for candidate in leading:
        candidate.run_for_election()
    terms = [candidate.wait_elected(3) for candidate in leading]
    faulty.inject(Fault.HANGS, "put_claim", "get")
    for number in range(10, 20):
        Candidate(opened, f"key/{number}", "a", ttl=0.9).run_for_election()
    renewals = faulty.calls["renew"]

    assert eventually(lambda: faulty.calls["renew"] > renewals + 6, 4)
    assert all(term is not None and not term.lost for term in terms)


def test_session_whose_lease_is_over_is_not_used_for_the_next_candidate(
    faulty: FaultyStore, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has led gets the report of the loss first, and passes its turn on at once."""
    election, entered = internals(opened).engine.election("key"), list[str]()
    enter = election.enter

    def noted(session: Session, value: bytes) -> Claim:
        entered.append(session.id)
        return enter(session, value)

    monkeypatch.setattr(election, "enter", noted)
    candidates = [Candidate(opened, "key", str(number), ttl=15) for number in range(5)]
    assert candidates[0].wait_elected(5)
    with suppress(LeadershipLost), candidates[0].working():
        for candidate in candidates[1:]:
            candidate.run_for_election()
        assert candidates[-1].wait_elected(0) is None
        faulty.sessions[0].inner.close()
        assert eventually(lambda: any(candidate.is_leader for candidate in candidates[1:]), 10)

    assert len(entered) == len(set(entered)) == 2


def test_candidate_that_waits_in_the_process_is_answered_without_a_request(
    faulty: FaultyStore, opened: Store
) -> None:
    """The store has answered the one ahead of it."""
    lock = opened.lock("key", ttl=3)
    assert Candidate(opened, "key", "a", ttl=3).wait_elected(5)
    claims = faulty.calls["put_claim"]

    def found() -> object:
        try:
            return lock.acquire(0)
        except NotElected as error:
            return error

    assert [found() for _ in range(3)] == [None] * 3
    assert faulty.calls["put_claim"] == claims


def test_candidate_that_waits_in_the_process_reports_an_outage(
    faulty: FaultyStore, opened: Store
) -> None:
    """It has no answer of its own, and learns of the failure from the session."""
    leader = Candidate(opened, "key", "a", ttl=6)
    assert leader.wait_elected(5)
    faulty.inject(Fault.UNAVAILABLE)
    assert eventually(lambda: candidate_control(leader).state.down, 5)

    with pytest.raises(NotElected) as caught:
        opened.lock("key", ttl=6).acquire(0)
    assert isinstance(caught.value.__cause__, StoreUnavailable)
    assert leader.is_leader
