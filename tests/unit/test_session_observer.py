"""The thread that observes sessions: what it reads, whom it wakes, and when it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator

import pytest

from leadership_core import Candidate, Follower, ForkedStore, Leader, Store, StoreUnavailable
from leadership_core.backend import Heartbeat, Session, end_observation
from leadership_core.stores.memory import State
from leadership_core.testing import VirtualClock
from tests.support.comparing_store import ComparingStore
from tests.support.waiting import wait_until

KEY = "jobs/leader"
TTL = 10.0
THREAD = "leadership-sessions"


def observers() -> list[str]:
    """The threads that observe sessions."""
    return [one.name for one in threading.enumerate() if one.name == THREAD]


class Bench:
    """A store whose engine runs on a virtual clock, and holders on other connections."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.state = State(self.clock)
        self.backend = ComparingStore(self.state)
        self.store = Store(self.backend, "memory://observed")
        self.batches: list[list[str]] = []
        self.failure: Exception | None = None
        inner = self.backend.sessions.read_heartbeats

        def read(sessions: Collection[str]) -> dict[str, Heartbeat]:
            self.batches.append(sorted(sessions))
            if self.failure is not None:
                raise self.failure
            return inner(sessions)

        self.backend.sessions.read_heartbeats = read  # type: ignore[method-assign]  # counts them

    def hold(self, *keys: str, ttl: float = TTL) -> Session:
        """Lead elections with a session that is renewed by hand only."""
        other = ComparingStore(self.state)
        session = other.open_session(ttl)
        for key in keys:
            assert other.election(key).enter(session, b"holder").granted
        return session


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench whose store is closed at the end, and then has no thread left."""
    made = Bench()
    yield made
    made.store.close()
    wait_until(lambda: not observers(), what="the observing thread ends")


def test_candidate_takes_over_from_a_crashed_holder_after_its_ttl(bench: Bench) -> None:
    """The waiting candidate is woken when the ttl has been observed, and not before."""
    bench.hold(KEY)
    candidate = Candidate(bench.store, KEY, "next", ttl=15)
    candidate.run_for_election()
    bench.clock.elapse(TTL - 0.1)
    assert not candidate.is_leader

    bench.clock.elapse(1.0)
    assert candidate.is_leader


def test_candidate_waits_while_the_holder_renews(bench: Bench) -> None:
    """Every renewal is seen within a second."""
    session = bench.hold(KEY)
    candidate = Candidate(bench.store, KEY, "next", ttl=15)
    candidate.run_for_election()
    for _ in range(20):
        bench.clock.elapse(TTL - 1.5)
        session.renew()
    assert not candidate.is_leader

    bench.clock.elapse(TTL + 1.5)
    assert candidate.is_leader


def test_candidate_takes_over_from_a_closed_session_at_the_next_read(bench: Bench) -> None:
    """A session that was closed with its claims is over at once."""
    session = bench.hold(KEY)
    candidate = Candidate(bench.store, KEY, "next", ttl=15)
    candidate.run_for_election()
    bench.clock.elapse(3.0)
    session.close()
    bench.clock.elapse(1.1)

    assert candidate.is_leader


def test_sessions_of_all_elections_are_read_in_one_batch(bench: Bench) -> None:
    """Fifty elections with three holders cost one request a second, by one thread."""
    keys = [f"jobs/{number}" for number in range(51)]
    holders = [bench.hold(*keys[number::3]) for number in range(3)]
    candidates = [Candidate(bench.store, key, "next", ttl=15) for key in keys]
    for candidate in candidates:
        candidate.run_for_election()
    bench.clock.elapse(1.0)
    bench.batches.clear()
    for _ in range(10):
        for holder in holders:
            holder.renew()
        bench.clock.elapse(1.0)

    assert observers() == [THREAD]
    assert 9 <= len(bench.batches) <= 12, bench.batches
    assert all(len(batch) == 3 for batch in bench.batches), bench.batches


def test_observer_ends_when_nothing_is_observed(bench: Bench) -> None:
    """A leader observes nothing; nor does a candidate that has left."""
    bench.hold("other")
    leader = Candidate(bench.store, KEY, "leader", ttl=15)
    assert leader.wait_elected(5)
    bench.clock.elapse(3.0)
    assert observers() == []

    waiting = Candidate(bench.store, "other", "waiting", ttl=15)
    waiting.run_for_election()
    bench.clock.elapse(3.0)
    assert observers() == [THREAD]
    waiting.stop()
    wait_until(lambda: not observers(), what="the thread ends")


def test_follower_reports_no_leader_once_it_has_observed_the_ttl(bench: Bench) -> None:
    """It writes nothing; a holder that comes back is reported again."""
    session = bench.hold(KEY)
    follower = Follower(bench.store, KEY)
    follower.follow_election()
    bench.clock.elapse(TTL - 0.5)
    assert follower.leader is not None
    revision = bench.state.debug_state().revision
    bench.clock.elapse(2.0)
    assert follower.leader is None
    assert bench.state.debug_state().revision == revision

    token = bench.backend.election(KEY)
    session._deadline.acknowledge(bench.clock.now())
    session.renew()
    bench.clock.elapse(1.5)
    found = follower.leader
    assert isinstance(found, Leader)
    assert found.value == "holder"
    assert token.leader() is not None


def test_failed_reads_neither_end_a_session_nor_the_watch(bench: Bench) -> None:
    """The watch says that the store is away, and names the leader again afterwards."""
    bench.hold(KEY, ttl=60.0)
    seen: list[object] = []
    watch = bench.backend.election(KEY).watch_leader(seen.append)
    bench.clock.elapse(2.0)
    assert isinstance(seen[-1], Leader)
    bench.failure = StoreUnavailable("away")
    bench.clock.elapse(5.0)
    assert isinstance(seen[-1], StoreUnavailable)
    assert len(seen) == 2
    bench.failure = None
    bench.clock.elapse(3.0)
    assert isinstance(seen[-1], Leader)
    watch.close()


def test_mistake_of_a_store_does_not_end_its_watches(bench: Bench) -> None:
    """It is logged, and the thread goes on."""
    bench.hold(KEY, ttl=60.0)
    seen: list[object] = []
    watch = bench.backend.election(KEY).watch_leader(seen.append)
    bench.clock.elapse(2.0)
    bench.failure = ZeroDivisionError("a mistake")
    bench.clock.elapse(2.0)
    assert isinstance(seen[-1], StoreUnavailable)
    bench.failure = None
    bench.clock.elapse(3.0)
    assert isinstance(seen[-1], Leader)
    watch.close()


def test_leader_of_an_ended_session_is_not_the_first_report(bench: Bench) -> None:
    """The record of a holder whose session was closed is still there."""
    bench.hold(KEY).close()
    seen: list[object] = []
    watch = bench.backend.election(KEY).watch_leader(seen.append)
    bench.clock.elapse(2.0)
    assert seen == [None]
    watch.close()


def test_sessions_of_crashed_candidates_are_removed(bench: Bench) -> None:
    """Also one that no claim names, once a candidate that waits has seen it silent for its ttl."""
    holder, crashed = bench.hold(KEY, ttl=600.0), bench.hold(ttl=TTL)
    candidate = Candidate(bench.store, KEY, "next", ttl=15)
    candidate.run_for_election()
    bench.clock.elapse(20.0)
    assert crashed.id in bench.backend.sessions.read_heartbeats([crashed.id])
    bench.clock.elapse(250.0)

    left = {entry.key.rpartition("/")[2] for entry in bench.backend.list(".sessions")}
    assert crashed.id not in left
    assert len(left) == 2
    assert holder.id in left


def test_end_of_observation_waits_for_its_thread(bench: Bench) -> None:
    """A backend calls it when it is closed."""
    bench.hold(KEY)
    watch = bench.backend.election(KEY).watch_leader(lambda _: None)
    assert observers() == [THREAD]
    end_observation(bench.backend.sessions)
    assert observers() == []
    end_observation(bench.backend.sessions)
    watch.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_forked_child_observes_nothing(bench: Bench) -> None:
    """Its elections are refused, and closing a watch has no effect there."""
    bench.hold(KEY)
    election = bench.backend.election(KEY)
    watch = election.watch_leader(lambda _: None)
    child = os.fork()
    if child == 0:
        try:
            election.leader()
        except ForkedStore:
            watch.close()
            end_observation(bench.backend.sessions)
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    watch.close()
