"""Cases of `Candidate` and `Lock` on a store without faults."""

from __future__ import annotations

import threading

from ...backend.clock import now
from ...backend.protocols import Capability
from ...candidate import Candidate
from ...errors import Fenced, NotElected
from ...events import Elected, Resigned, Stopped
from ...term import Term
from ..case import needs
from ..recorders import DEFAULT_WAIT
from ..sandbox import Sandbox
from .assertions import is_equal, is_false, is_true, raises

__all__ = ["CandidateCases", "elected"]

_LONG = 30.0  # seconds of a cooldown that does not end within a case
_PATIENT_TTL = 12.0  # seconds; a third of it is what one request may take on a busy machine
_SOON = 2.0  # seconds; a handover takes some milliseconds, and the machine may be busy


def elected(candidate: Candidate, within: float = DEFAULT_WAIT) -> Term:
    """Wait until it is elected, and return its term."""
    term = candidate.wait_elected(within)
    assert term is not None, f"{candidate!r} was not elected within {within:g} s"
    return term


class CandidateCases:
    """`Candidate` and `Lock`."""

    def test_candidate_is_elected_and_stops(self, sandbox: Sandbox) -> None:
        """It yields False, True, and False at the end, in agreement with what others read."""
        key = sandbox.key("leader")
        candidate = Candidate(sandbox.store, key, "underwood", ttl=sandbox.ttl)
        outcomes = candidate.run_for_election()
        is_false(next(outcomes), "the first value")
        is_true(next(outcomes), "the second value")
        term = candidate.term
        assert term is not None, "it was elected and has no term"
        assert candidate.is_leader, "it was elected and does not lead"
        found = sandbox.open().leader(key)
        is_equal(found and (found.value, found.token), ("underwood", term.token), "the leader")

        is_true(candidate.stop(), "stop")
        is_false(candidate.is_leader, "is_leader after stop")
        is_equal((candidate.term, term.lost), (None, True), "its term after stop")
        is_equal(list(outcomes), [False], "the values after stop")
        is_equal(sandbox.open().leader(key), None, "the leader after stop")
        is_equal(list(candidate.run_for_election()), [False], "values of one that has stopped")

    def test_candidate_events_are_in_order(self, sandbox: Sandbox) -> None:
        """Each term is campaigning, elected, resigned; stopped comes last."""
        candidate = Candidate(sandbox.store, sandbox.key("leader"), "a", ttl=sandbox.ttl)
        stream = candidate.events()
        for _ in range(2):
            elected(candidate)
            is_true(candidate.resign(0), "resign")
        elected(candidate)
        candidate.stop()
        reported = [event for event in stream if not event.name.startswith("store_")]
        names = [event.name for event in reported]
        is_equal(names, ["campaigning", "elected", "resigned"] * 3 + ["stopped"], "the events")
        tokens = [event.term.token for event in reported if isinstance(event, Elected)]
        is_equal(tokens, sorted(set(tokens)), "the tokens")
        assert isinstance(reported[-2], Resigned), f"the last but one event is {reported[-2]}"
        assert isinstance(reported[-1], Stopped), f"the last event is {reported[-1]}"

    def test_resign_hands_over_to_a_waiting_candidate(self, sandbox: Sandbox) -> None:
        """Each handover takes milliseconds, and gives a larger token."""
        key, tokens = sandbox.key("leader"), list[int]()
        candidates = [Candidate(sandbox.open(), key, f"c{n}", ttl=sandbox.ttl) for n in range(4)]
        elected(candidates[0])
        for candidate in candidates:
            candidate.run_for_election()
        resigned = now()
        for _ in candidates:
            leader = _wait_for_leader(sandbox, candidates)
            took = now() - resigned
            assert took < _SOON, f"the handover took {took:.2f} s"
            term = leader.term
            assert term is not None, "the leader has no term"
            tokens.append(term.token)
            is_true(leader.resign(_LONG), "resign")
            resigned = now()
            is_false(leader.is_leader, "is_leader after resign")
        is_equal(tokens, sorted(set(tokens)), "the tokens")
        for candidate in candidates:
            is_true(candidate.stop(), "stop")

    def test_resign_may_be_repeated(self, sandbox: Sandbox) -> None:
        """Twice in a row, or by four threads at once, each call returns, and one of them resigns."""
        candidate = Candidate(sandbox.store, sandbox.key("leader"), "a", ttl=sandbox.ttl)
        is_false(candidate.resign(), "resign before it was ever elected")
        elected(candidate)
        is_true(candidate.resign(0), "resign")
        candidate.resign(0)
        elected(candidate)
        answers = list[bool]()
        threads = [
            threading.Thread(target=lambda: answers.append(candidate.resign(_LONG)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEFAULT_WAIT)
        is_equal(len(answers), 4, "calls of resign that have returned")
        assert any(answers), f"none of the calls resigned: {answers}"
        is_false(candidate.is_leader, "is_leader afterwards")
        is_true(candidate.stop(), "stop")

    def test_candidate_with_unread_iterators_is_elected_and_resigns(self, sandbox: Sandbox) -> None:
        """Unread iterators delay neither an election nor a handover."""
        key = sandbox.key("leader")
        candidates = [Candidate(sandbox.open(), key, f"c{n}", ttl=sandbox.ttl) for n in range(3)]
        unread = [(one.run_for_election(), one.events()) for one in candidates]
        for _ in candidates:
            leader = _wait_for_leader(sandbox, candidates)
            is_true(leader.resign(_LONG), "resign with unread iterators")
            is_false(leader.is_leader, "is_leader of the one that has resigned")
        for candidate in candidates:
            is_true(candidate.stop(), "stop with unread iterators")
        is_equal(sandbox.store.leader(key), None, "the leader when all have stopped")
        for _, stream in unread:
            names = [event.name for event in stream if not event.name.startswith("store_")]
            is_equal(names[-1:], ["stopped"], "the last event, read in the end")

    def test_candidate_that_stops_while_waiting_is_never_elected(self, sandbox: Sandbox) -> None:
        """When the leader stops, another candidate is elected, or none: the stopped one holds no claim."""
        key = sandbox.key("leader")
        leader = Candidate(sandbox.open(), key, "leader", ttl=sandbox.ttl)
        waiting = Candidate(sandbox.open(), key, "waiting", ttl=sandbox.ttl)
        elected(leader)
        outcomes = waiting.run_for_election()
        is_false(next(outcomes), "the first value")
        is_equal(waiting.wait_elected(0.2), None, "elected while another one leads")
        is_true(waiting.stop(), "stop of one that waits")
        is_true(leader.stop(), "stop of the leader")
        is_equal(waiting.wait_elected(0.2), None, "elected after stop")
        is_equal(list(outcomes), [], "values after stop")
        is_equal(sandbox.store.leader(key), None, "the leader when both have stopped")
        third = Candidate(sandbox.open(), key, "third", ttl=sandbox.ttl)
        elected(third, _SOON)
        is_true(third.stop(), "stop")

    def test_stop_may_be_repeated(self, sandbox: Sandbox) -> None:
        """It may be called before the start, as leader, twice, and by several threads at once."""
        key = sandbox.key("leader")
        is_true(
            Candidate(sandbox.store, key, "never", ttl=sandbox.ttl).stop(), "stop before the start"
        )
        candidate = Candidate(sandbox.store, key, "a", ttl=sandbox.ttl)
        elected(candidate)
        answers = list[bool]()
        threads = [
            threading.Thread(target=lambda: answers.append(candidate.stop())) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEFAULT_WAIT)
        is_equal(answers, [True] * 3, "what stop has returned")
        is_true(candidate.stop(), "stop once more")
        is_false(candidate.resign(), "resign after stop")
        is_equal(candidate.wait_elected(0.1), None, "elected after stop")

    def test_leading_campaigns_only_inside_its_block(self, sandbox: Sandbox) -> None:
        """It resigns at the exit, may be entered again, and raises NotElected after its timeout."""
        key = sandbox.key("leader")
        first = Candidate(sandbox.open(), key, "a", ttl=sandbox.ttl)
        second = Candidate(sandbox.open(), key, "b", ttl=sandbox.ttl)
        with first.leading(DEFAULT_WAIT) as term:
            term.check()
            raises(NotElected, lambda: second.leading(0.2).__enter__(), "while another one leads")
            is_false(second.is_leader, "is_leader of the one that was not elected")
        assert term.lost, "the term is valid after the exit"
        with second.leading(DEFAULT_WAIT) as next_term:
            assert next_term.token > term.token, f"tokens {term.token} and {next_term.token}"
        with first.leading(DEFAULT_WAIT) as again:
            assert again.token > next_term.token, f"tokens {next_term.token} and {again.token}"
        is_equal(sandbox.store.leader(key), None, "the leader afterwards")

    def test_lead_calls_work_once_for_each_term(self, sandbox: Sandbox) -> None:
        """No other candidate is elected before the work has returned."""
        key, terms = sandbox.key("leader"), list[Term]()
        candidate = Candidate(sandbox.open(), key, "a", ttl=sandbox.ttl)

        def work(term: Term) -> None:
            terms.append(term)
            found = sandbox.store.leader(key)
            is_equal(found and found.token, term.token, "the token of the leader during its work")
            if len(terms) == 3:
                candidate.stop()

        candidate.lead(work, cooldown=0)
        tokens = [term.token for term in terms]
        is_equal(tokens, sorted(set(tokens)), "the tokens")
        assert sandbox.eventually(lambda: sandbox.store.leader(key) is None), (
            "it leads after its work"
        )

    def test_lock_has_one_holder_at_a_time(self, sandbox: Sandbox) -> None:
        """Of several threads and connections one holds it at a time, each time with a larger token."""
        key, held, tokens = sandbox.key("lock"), threading.Lock(), list[int]()
        stores, surprises = [sandbox.open(), sandbox.open()], list[BaseException]()

        def work(number: int) -> None:
            lock = stores[number % 2].lock(key, f"holder {number}", ttl=sandbox.ttl)
            try:
                for _ in range(2):
                    with lock as term:
                        assert held.acquire(blocking=False), "two hold the lock"
                        tokens.append(term.token)
                        held.release()
                        term.check()
            except BaseException as error:  # noqa: BLE001 - raised in the thread of the case
                surprises.append(error)

        threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * DEFAULT_WAIT)
        if surprises:
            raise surprises[0]
        is_equal(len(tokens), 6, "times that the lock was held")
        is_equal(tokens, sorted(set(tokens)), "tokens in the order of the holders")

    def test_lock_acquire_returns_none_after_its_timeout(self, sandbox: Sandbox) -> None:
        """A lock that gave up waiting does not get the lock later."""
        key = sandbox.key("lock")
        first, second = (
            sandbox.open().lock(key, ttl=sandbox.ttl),
            sandbox.open().lock(key, ttl=sandbox.ttl),
        )
        assert first.acquire(DEFAULT_WAIT), "a free lock could not be acquired"
        is_equal(second.acquire(0.2), None, "a lock that is held")
        is_true(first.release(), "release")
        is_equal(second.term, None, "the term of one that gave up")
        assert first.acquire(DEFAULT_WAIT), "the lock cannot be acquired after one that gave up"
        is_true(first.release(), "release")
        is_false(first.release(), "release once more")

    def test_lock_acquire_may_be_repeated_while_the_lock_is_held(self, sandbox: Sandbox) -> None:
        """No attempt raises, and a candidate that waits meanwhile is elected soon."""
        key, store = sandbox.key("lock"), sandbox.open()
        ttl = max(sandbox.ttl, _PATIENT_TTL)
        first, second = sandbox.open().lock(key, ttl=ttl), store.lock(key, ttl=ttl)
        waiting = Candidate(store, key, "waiting", ttl=ttl)
        assert first.acquire(DEFAULT_WAIT), "a free lock could not be acquired"
        for number in range(20):
            is_equal(second.acquire(0), None, f"try number {number}")
        is_equal(waiting.wait_elected(0), None, "elected while the lock is held")
        is_true(first.release(), "release")
        elected(waiting, _SOON)
        is_true(waiting.stop(), "stop")

    @needs(Capability.FENCED_WRITES)
    def test_fenced_write_of_a_candidate_is_refused_after_its_term(self, sandbox: Sandbox) -> None:
        """The store refuses `put(..., fence=term)` once the candidate has resigned."""
        key, data = sandbox.key("leader"), sandbox.key("data")
        candidate = Candidate(sandbox.open(), key, "a", ttl=sandbox.ttl)
        term = elected(candidate)
        kept = sandbox.store.put(data, b"1", fence=term)
        is_true(candidate.resign(0), "resign")
        raises(Fenced, lambda: sandbox.store.put(data, b"2", fence=term), "a write after the term")
        later = elected(candidate)
        raises(Fenced, lambda: sandbox.store.put(data, b"2", fence=term.fence), "in the next term")
        is_equal(sandbox.store.get(data), kept, "what is there")
        sandbox.store.put(data, b"3", fence=later.fence)
        is_true(candidate.stop(), "stop")

    def test_candidates_of_twenty_elections_share_a_connection(self, sandbox: Sandbox) -> None:
        """All are elected, and stopping one of them stops no other."""
        top, store = sandbox.key(), sandbox.open()
        candidates = [Candidate(store, f"{top}/{n}", str(n), ttl=sandbox.ttl) for n in range(20)]
        for candidate in candidates:
            candidate.run_for_election()
        for candidate in candidates:
            elected(candidate)
        for candidate in candidates[::2]:
            is_true(candidate.stop(), "stop")
        for number, candidate in enumerate(candidates):
            is_equal(candidate.is_leader, bool(number % 2), f"whether number {number} leads")
            found = sandbox.store.leader(f"{top}/{number}")
            is_equal(found and found.value, str(number) if number % 2 else None, "the leader")


def _wait_for_leader(sandbox: Sandbox, candidates: list[Candidate]) -> Candidate:
    found = list[Candidate]()

    def is_led() -> bool:
        found[:] = [one for one in candidates if one.is_leader]
        return bool(found)

    assert sandbox.eventually(is_led), f"none of {len(candidates)} candidates leads"
    return found[0]
