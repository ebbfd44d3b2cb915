"""Candidates: what users hold, on a store as it is."""

from __future__ import annotations

import threading

from ...candidate import Candidate
from ...clock import now
from ...errors import Fenced, NotElected
from ...events import Elected, Resigned, Stopped
from ...store import Capability
from ...term import Term
from ..case import needs
from ..heard import PATIENCE
from ..lab import Lab
from .expectations import is_equal, is_false, is_true, raises

__all__ = ["CandidateCases", "elected"]

_LONG = 30.0  # seconds of a cooldown that does not end within a case
_PATIENT_TTL = 12.0  # seconds; a third of it is what one request may take on a busy machine
_SOON = 2.0  # seconds; a handover takes some milliseconds, and the machine may be busy


def elected(candidate: Candidate, within: float = PATIENCE) -> Term:
    """Wait until it leads."""
    term = candidate.wait_elected(within)
    assert term is not None, f"{candidate!r} was not elected within {within:g} s"
    return term


class CandidateCases:
    """`Candidate` and `Lock`."""

    def test_a_candidate_is_elected_and_stops(self, lab: Lab) -> None:
        """False, True, and False at the end; what it says of itself is what others see."""
        key = lab.key("leader")
        candidate = Candidate(lab.store, key, "underwood", ttl=lab.ttl)
        outcomes = candidate.run_for_election()
        is_false(next(outcomes), "the first value")
        is_true(next(outcomes), "the second value")
        term = candidate.term
        assert term is not None, "it was elected and has no term"
        assert candidate.is_leader, "it was elected and does not lead"
        found = lab.open().leader(key)
        is_equal(found and (found.value, found.token), ("underwood", term.token), "the leader")

        is_true(candidate.stop(), "stop")
        is_false(candidate.is_leader, "is_leader after stop")
        is_equal((candidate.term, term.lost), (None, True), "its term after stop")
        is_equal(list(outcomes), [False], "the values after stop")
        is_equal(lab.open().leader(key), None, "the leader after stop")
        is_equal(list(candidate.run_for_election()), [False], "values of one that has stopped")

    def test_events_tell_the_story_in_order(self, lab: Lab) -> None:
        """Campaigning, elected, resigned, and so on; stopped comes last."""
        candidate = Candidate(lab.store, lab.key("leader"), "a", ttl=lab.ttl)
        story = candidate.events()
        for _ in range(2):
            elected(candidate)
            is_true(candidate.resign(0), "resign")
        elected(candidate)
        candidate.stop()
        told = [event for event in story if not event.name.startswith("store_")]
        names = [event.name for event in told]
        is_equal(names, ["campaigning", "elected", "resigned"] * 3 + ["stopped"], "the events")
        tokens = [event.term.token for event in told if isinstance(event, Elected)]
        is_equal(tokens, sorted(set(tokens)), "the tokens")
        assert isinstance(told[-2], Resigned), f"the last but one event is {told[-2]}"
        assert isinstance(told[-1], Stopped), f"the last event is {told[-1]}"

    def test_resigning_hands_over(self, lab: Lab) -> None:
        """Each time within moments, to one of those that wait, with a larger token."""
        key, tokens = lab.key("leader"), list[int]()
        candidates = [Candidate(lab.open(), key, f"c{n}", ttl=lab.ttl) for n in range(4)]
        elected(candidates[0])
        for candidate in candidates:
            candidate.run_for_election()
        resigned = now()
        for _ in candidates:
            leader = _whoever_leads(lab, candidates)
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

    def test_resigning_again_is_harmless(self, lab: Lab) -> None:
        """Twice in a row, and from four threads at once: each returns, and one of them resigned."""
        candidate = Candidate(lab.store, lab.key("leader"), "a", ttl=lab.ttl)
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
            thread.join(PATIENCE)
        is_equal(len(answers), 4, "calls of resign that have returned")
        assert any(answers), f"nobody has resigned: {answers}"
        is_false(candidate.is_leader, "is_leader afterwards")
        is_true(candidate.stop(), "stop")

    def test_iterators_that_nobody_reads_delay_nothing(self, lab: Lab) -> None:
        """Nor does asking between two steps: it is elected, resigns, and the next one leads."""
        key = lab.key("leader")
        candidates = [Candidate(lab.open(), key, f"c{n}", ttl=lab.ttl) for n in range(3)]
        unread = [(one.run_for_election(), one.events()) for one in candidates]
        for _ in candidates:
            leader = _whoever_leads(lab, candidates)
            is_true(leader.resign(_LONG), "resign with unread iterators")
            is_false(leader.is_leader, "is_leader of the one that has resigned")
        for candidate in candidates:
            is_true(candidate.stop(), "stop with unread iterators")
        is_equal(lab.store.leader(key), None, "the leader when all have stopped")
        for _, story in unread:
            names = [event.name for event in story if not event.name.startswith("store_")]
            is_equal(names[-1:], ["stopped"], "the last event, read in the end")

    def test_one_that_stops_while_it_waits_never_leads(self, lab: Lab) -> None:
        """When the leader goes, another one is elected, or nobody: no zombie holds the key."""
        key = lab.key("leader")
        leader = Candidate(lab.open(), key, "leader", ttl=lab.ttl)
        waiting = Candidate(lab.open(), key, "waiting", ttl=lab.ttl)
        elected(leader)
        outcomes = waiting.run_for_election()
        is_false(next(outcomes), "the first value")
        is_equal(waiting.wait_elected(0.2), None, "elected while another one leads")
        is_true(waiting.stop(), "stop of one that waits")
        is_true(leader.stop(), "stop of the leader")
        is_equal(waiting.wait_elected(0.2), None, "elected after stop")
        is_equal(list(outcomes), [], "values after stop")
        is_equal(lab.store.leader(key), None, "the leader when both have stopped")
        third = Candidate(lab.open(), key, "third", ttl=lab.ttl)
        elected(third, _SOON)
        is_true(third.stop(), "stop")

    def test_stopping_again_is_harmless(self, lab: Lab) -> None:
        """Before it has started, as leader, twice, and from several threads at once."""
        key = lab.key("leader")
        is_true(Candidate(lab.store, key, "never", ttl=lab.ttl).stop(), "stop before the start")
        candidate = Candidate(lab.store, key, "a", ttl=lab.ttl)
        elected(candidate)
        answers = list[bool]()
        threads = [
            threading.Thread(target=lambda: answers.append(candidate.stop())) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        is_equal(answers, [True] * 3, "what stop has returned")
        is_true(candidate.stop(), "stop once more")
        is_false(candidate.resign(), "resign after stop")
        is_equal(candidate.wait_elected(0.1), None, "elected after stop")

    def test_leading_stands_only_while_entered(self, lab: Lab) -> None:
        """It leaves at the exit, may be entered again, and says when it was not elected in time."""
        key = lab.key("leader")
        first = Candidate(lab.open(), key, "a", ttl=lab.ttl)
        second = Candidate(lab.open(), key, "b", ttl=lab.ttl)
        with first.leading(PATIENCE) as term:
            term.check()
            raises(NotElected, lambda: second.leading(0.2).__enter__(), "while another one leads")
            is_false(second.is_leader, "is_leader of the one that was not elected")
        assert term.lost, "the term stands after the exit"
        with second.leading(PATIENCE) as next_term:
            assert next_term.token > term.token, f"tokens {term.token} and {next_term.token}"
        with first.leading(PATIENCE) as again:
            assert again.token > next_term.token, f"tokens {next_term.token} and {again.token}"
        is_equal(lab.store.leader(key), None, "the leader afterwards")

    def test_work_is_done_while_leading(self, lab: Lab) -> None:
        """`lead` calls it once for each term, and nobody else leads before it has returned."""
        key, terms = lab.key("leader"), list[Term]()
        candidate = Candidate(lab.open(), key, "a", ttl=lab.ttl)

        def work(term: Term) -> None:
            terms.append(term)
            found = lab.store.leader(key)
            is_equal(found and found.token, term.token, "the token of the leader during its work")
            if len(terms) == 3:
                candidate.stop()

        candidate.lead(work, cooldown=0)
        tokens = [term.token for term in terms]
        is_equal(tokens, sorted(set(tokens)), "the tokens")
        assert lab.eventually(lambda: lab.store.leader(key) is None), "it leads after its work"

    def test_a_lock_excludes_and_has_a_term(self, lab: Lab) -> None:
        """One holder at a time, of threads and connections, each with a larger token."""
        key, held, tokens = lab.key("lock"), threading.Lock(), list[int]()
        stores, surprises = [lab.open(), lab.open()], list[BaseException]()

        def work(number: int) -> None:
            lock = stores[number % 2].lock(key, f"holder {number}", ttl=lab.ttl)
            try:
                for _ in range(2):
                    with lock as term:
                        assert held.acquire(blocking=False), "two hold the lock"
                        tokens.append(term.token)
                        held.release()
                        term.check()
            except BaseException as error:  # noqa: BLE001 - told in the thread of the case
                surprises.append(error)

        threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
        if surprises:
            raise surprises[0]
        is_equal(len(tokens), 6, "times that the lock was held")
        is_equal(tokens, sorted(set(tokens)), "tokens in the order of the holders")

    def test_a_lock_that_is_held_is_waited_for_in_vain(self, lab: Lab) -> None:
        """In time None is returned; one that gave up waiting does not get it afterwards."""
        key = lab.key("lock")
        first, second = lab.open().lock(key, ttl=lab.ttl), lab.open().lock(key, ttl=lab.ttl)
        assert first.acquire(PATIENCE), "a free lock was not to be had"
        is_equal(second.acquire(0.2), None, "a lock that is held")
        is_true(first.release(), "release")
        is_equal(second.term, None, "the term of one that gave up")
        assert first.acquire(PATIENCE), "nobody can have the lock after one that gave up"
        is_true(first.release(), "release")
        is_false(first.release(), "release once more")

    def test_repeated_tries_for_a_held_lock_return_none(self, lab: Lab) -> None:
        """None raises `NotElected`, and a candidate that waits meanwhile is elected soon."""
        key, store = lab.key("lock"), lab.open()
        ttl = max(lab.ttl, _PATIENT_TTL)
        first, second = lab.open().lock(key, ttl=ttl), store.lock(key, ttl=ttl)
        waiting = Candidate(store, key, "waiting", ttl=ttl)
        assert first.acquire(PATIENCE), "a free lock was not to be had"
        for number in range(20):
            is_equal(second.acquire(0), None, f"try number {number}")
        is_equal(waiting.wait_elected(0), None, "elected while the lock is held")
        is_true(first.release(), "release")
        elected(waiting, _SOON)
        is_true(waiting.stop(), "stop")

    @needs(Capability.FENCED_WRITES)
    def test_a_term_fences_writes_until_it_ends(self, lab: Lab) -> None:
        """`put(..., fence=term)` is refused by the store once its candidate has resigned."""
        key, data = lab.key("leader"), lab.key("data")
        candidate = Candidate(lab.open(), key, "a", ttl=lab.ttl)
        term = elected(candidate)
        kept = lab.store.put(data, b"1", fence=term)
        is_true(candidate.resign(0), "resign")
        raises(Fenced, lambda: lab.store.put(data, b"2", fence=term), "a write after the term")
        later = elected(candidate)
        raises(Fenced, lambda: lab.store.put(data, b"2", fence=term.fence), "in the next term")
        is_equal(lab.store.get(data), kept, "what is there")
        lab.store.put(data, b"3", fence=later.fence)
        is_true(candidate.stop(), "stop")

    def test_twenty_candidates_of_one_program_all_lead(self, lab: Lab) -> None:
        """Each its own election, over one connection; stopping one of them stops no other."""
        top, store = lab.key(), lab.open()
        candidates = [Candidate(store, f"{top}/{n}", str(n), ttl=lab.ttl) for n in range(20)]
        for candidate in candidates:
            candidate.run_for_election()
        for candidate in candidates:
            elected(candidate)
        for candidate in candidates[::2]:
            is_true(candidate.stop(), "stop")
        for number, candidate in enumerate(candidates):
            is_equal(candidate.is_leader, bool(number % 2), f"whether number {number} leads")
            found = lab.store.leader(f"{top}/{number}")
            is_equal(found and found.value, str(number) if number % 2 else None, "the leader")


def _whoever_leads(lab: Lab, candidates: list[Candidate]) -> Candidate:
    found = list[Candidate]()

    def is_led() -> bool:
        found[:] = [one for one in candidates if one.is_leader]
        return bool(found)

    assert lab.eventually(is_led), f"none of {len(candidates)} candidates leads"
    return found[0]
