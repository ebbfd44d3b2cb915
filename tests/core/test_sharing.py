"""Many candidates of one store: one session, few threads, and nobody pays for another."""

from __future__ import annotations

import threading

from leadership_core import Candidate, StoreHandle
from tests.core.faulty import Fault, FaultyStore, eventually


def ours() -> int:
    """How many threads of the library there are."""
    return sum(one.name.startswith("leadership") for one in threading.enumerate())


def test_hundred_candidates_share_a_session(faulty: FaultyStore, opened: StoreHandle) -> None:
    """And at most 16 threads."""
    candidates = [Candidate(opened, f"key/{number}", "a", ttl=15) for number in range(100)]
    for candidate in candidates:
        candidate.run_for_election()
    assert eventually(lambda: all(candidate.is_leader for candidate in candidates))

    assert len(faulty.alive()) == 1
    assert ours() <= 16


def test_second_candidate_for_a_key_has_a_session_of_its_own(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Or both would lead."""
    first, second = (Candidate(opened, "key", name, ttl=3) for name in "ab")
    assert first.wait_elected(3)
    assert second.wait_elected(0.1) is None
    assert len(faulty.alive()) == 2

    first.resign(30)
    assert second.wait_elected(1)


def test_other_ttl_other_session(faulty: FaultyStore, opened: StoreHandle) -> None:
    """A session has one ttl."""
    for ttl in (3, 4, 3):
        assert Candidate(opened, f"key{len(faulty.sessions)}-{ttl}", "a", ttl=ttl).wait_elected(3)

    assert sorted(session.ttl for session in faulty.sessions) == [3, 4]


def test_stopping_one_withdraws_its_claim_only(faulty: FaultyStore, opened: StoreHandle) -> None:
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


def test_lost_session_is_lost_for_all_at_once(faulty: FaultyStore, opened: StoreHandle) -> None:
    """With the first answer that says so; all lead again long before the next renewal."""
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


def test_hanging_requests_of_one_do_not_end_the_terms_of_others(
    faulty: FaultyStore, opened: StoreHandle
) -> None:
    """Renewals have a thread that nothing else queues for."""
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
