"""Faults of the store for tests of programs: each in the ways in which programs meet it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from leadership_core import (
    Candidate,
    CandidateEvent,
    Follower,
    LeadershipLost,
    Lost,
    LostReason,
    NotElected,
    StoreUnavailable,
    Term,
    aio,
    open_store,
)
from leadership_core.testing import StoreFaults

KEY = "service/api"


@pytest.fixture
def faults() -> Iterator[StoreFaults]:
    with StoreFaults() as opened:
        yield opened


def lead(faults: StoreFaults, value: str = "a") -> Candidate:
    candidate = Candidate(faults.store, KEY, value, ttl=15)
    assert candidate.wait_elected(5)
    return candidate


def test_lost_lease_ends_the_term_of_that_candidate_alone(faults: StoreFaults) -> None:
    """Its events are delivered, its callback has run, and another key's leader leads on."""
    seen: list[object] = []
    candidate = Candidate(faults.store, KEY, "a", on_lost=seen.append)
    other = Candidate(faults.store, "other", "b", ttl=30)
    term = candidate.wait_elected(5)
    assert term is not None
    assert other.wait_elected(5)

    faults.lose_lease(candidate)

    assert (term.lost, candidate.is_leader, other.is_leader) == (True, False, True)
    assert seen == [Lost(LostReason.SESSION_LOST)]
    faults.clock.elapse(5)
    assert candidate.is_leader, "it campaigns again"


def test_lost_session_ends_the_terms_of_all(faults: StoreFaults) -> None:
    """As when an operator ends the sessions, or a backup is restored."""
    candidates = [
        Candidate(faults.store, KEY, "a"),
        Candidate(faults.open(), "other", "b"),
    ]
    terms = [candidate.wait_elected(5) for candidate in candidates]

    faults.lose_session()

    assert [term is not None and term.lost for term in terms] == [True, True]


def test_sessions_of_one_connection_are_lost(faults: StoreFaults) -> None:
    """Those of the other connections go on."""
    elsewhere = faults.open()
    here, there = Candidate(faults.store, KEY, "a"), Candidate(elsewhere, "other", "b")
    assert here.wait_elected(5)
    assert there.wait_elected(5)

    faults.lose_session(faults.store)

    assert (here.is_leader, there.is_leader) == (False, True)


def test_lease_without_a_leader_cannot_be_lost(faults: StoreFaults) -> None:
    """A test that loses nothing is a mistake."""
    with pytest.raises(LookupError, match="service/api has no leader"):
        faults.lose_lease(KEY)


def test_work_of_lead_sees_the_loss(faults: StoreFaults) -> None:
    """The worker stops when the lease is lost."""
    begun = threading.Event()
    done: list[Term] = []
    candidate = Candidate(faults.store, KEY, "a")

    def work(term: Term) -> None:
        begun.set()
        term.wait_lost()
        done.append(term)
        candidate.stop()

    thread = threading.Thread(target=candidate.lead, args=(work,))
    thread.start()
    assert begun.wait(5)

    faults.lose_lease(KEY)
    thread.join(5)

    assert [term.lost for term in done] == [True]


def test_lock_is_lost(faults: StoreFaults) -> None:
    """The block raises `LeadershipLost` at its end."""
    lock = faults.store.lock(KEY, "job")

    def job() -> None:
        with lock as term:
            faults.lose_lease(lock)
            assert term.lost

    with pytest.raises(LeadershipLost):
        job()


def test_only_leader_refuses_after_the_loss(faults: StoreFaults) -> None:
    """A function for leaders alone raises `NotElected`."""
    candidate = lead(faults)

    @candidate.only_leader
    def job() -> str:
        return "done"

    assert job() == "done"
    faults.elect_other(candidate)
    with pytest.raises(NotElected):
        job()


def test_other_leader_takes_over_and_resigns(faults: StoreFaults) -> None:
    """Followers see the old leader, the other one, and the old one again."""
    candidate = lead(faults)
    seen: list[str] = []
    follower = Follower(faults.store, KEY, on_leader=lambda leader: seen.append(str(leader)))
    follower.wait_leader(5)
    term = candidate.term
    assert term is not None

    with faults.elect_other(KEY, "b") as other:
        faults.clock.elapse(600)
        assert (candidate.is_leader, other.token > term.token) == (False, True)
    faults.clock.elapse(10)

    # A vacancy that ends at the time at which it begins may be skipped.
    assert [one for one in seen if one != "None"] == ["a", "b", "a"]
    assert candidate.is_leader


def test_other_leader_leads_before_any_candidate(faults: StoreFaults) -> None:
    """A program that is started second is a standby."""
    faults.elect_other(KEY)

    assert Candidate(faults.store, KEY, "a").wait_elected(0) is None


def test_store_that_is_down_ends_the_lease_in_its_time(faults: StoreFaults) -> None:
    """The leader leads until its lease ends, and again after the outage."""
    candidate = lead(faults)
    events: list[CandidateEvent] = []
    candidate.add_listener(events.append)

    with faults.store_down():
        with pytest.raises(StoreUnavailable):
            faults.store.get("x")
        faults.clock.elapse(8)
        assert candidate.is_leader
        faults.clock.elapse(7)
        assert not candidate.is_leader
    assert faults.store.get("x") is None
    faults.clock.elapse(10)

    assert candidate.is_leader
    assert [event.name for event in events] == [
        "campaigning", "elected",
        "store_down", "suspended", "lost", "campaigning", "store_up", "elected",
    ]  # fmt: skip


def test_connection_opened_during_an_outage_is_down(faults: StoreFaults) -> None:
    """Also that of a program that opens the URL itself."""
    faults.store_down()

    with open_store(faults.url) as store, pytest.raises(StoreUnavailable):
        store.get("x")

    faults.store_up()
    assert faults.store.get("x") is None


def test_slow_answers_take_their_time(faults: StoreFaults) -> None:
    """A leader renews in spite of them, and a request of the program takes so long."""
    candidate = lead(faults)

    with faults.slow(2):
        begun = faults.clock.now()
        faults.store.put("x", b"1")
        assert faults.clock.now() >= begun + 2
        faults.clock.elapse(60)
        assert candidate.is_leader


def test_answers_slower_than_the_time_limit_are_lost(faults: StoreFaults) -> None:
    """The request takes effect, the program does not learn of it, and the lease ends."""
    candidate = lead(faults)

    with faults.slow(8):
        with pytest.raises(StoreUnavailable):
            faults.store.put("x", b"1")
        faults.clock.elapse(30)
        assert not candidate.is_leader

    entry = faults.store.get("x")
    assert entry is not None
    faults.clock.elapse(30)
    assert candidate.is_leader


def test_inner_fault_ends_with_its_block(faults: StoreFaults) -> None:
    """The outer one goes on then."""
    with faults.slow(1):
        with faults.store_down(), pytest.raises(StoreUnavailable):
            faults.store.get("x")
        begun = faults.clock.now()
        faults.store.get("x")
        assert faults.clock.now() == begun + 1


def test_fault_of_another_store_is_refused(faults: StoreFaults) -> None:
    """A store that was opened elsewhere cannot be cut off."""
    with open_store("memory://") as store, pytest.raises(LookupError, match="not a connection to"):
        faults.store_down(store)


def test_asyncio_body_is_cancelled(faults: StoreFaults) -> None:
    """The block raises `LeadershipLost`, and time passes in the loop's thread."""

    async def body(candidate: aio.Candidate) -> None:
        async with candidate.leading(timeout=5):
            faults.lose_lease(KEY)
            await asyncio.Event().wait()

    async def program() -> None:
        async with aio.open_store(faults.url) as store, aio.Candidate(store, KEY, "a") as candidate:
            with pytest.raises(LeadershipLost):
                await body(candidate)
            faults.clock.elapse(10)
            term = await candidate.wait_elected(5)
            assert term is not None

    asyncio.run(program())


def test_asyncio_stop_lets_time_pass_while_the_store_is_down(faults: StoreFaults) -> None:
    """As in threads: no test waits for a ttl of real time."""

    async def program() -> bool:
        async with aio.open_store(faults.url) as store:
            candidate = aio.Candidate(store, KEY, "a", ttl=15)
            await candidate.wait_elected(5)
            with faults.store_down():
                return await asyncio.wait_for(candidate.stop(), 5)

    assert asyncio.run(program()) is False
    assert faults.clock.now() >= 15


def test_threads_are_gone_at_the_end() -> None:
    """Also those of candidates that were not stopped, of an outage, and of a store of the program."""
    before = set(threading.enumerate())
    with StoreFaults() as faults, open_store(faults.url) as store:
        Candidate(faults.store, KEY, "a").wait_elected(5)
        Candidate(store, "other", "b", on_elected=lambda term: None).wait_elected(5)
        Follower(store, KEY).wait_leader(5)
        faults.slow(10)
        faults.clock.elapse(60)

    assert set(threading.enumerate()) == before
