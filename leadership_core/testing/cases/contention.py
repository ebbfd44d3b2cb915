"""Cases of elections with many candidates."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

from ...backend.clock import now
from ...candidate import Candidate
from ...errors import NotElected
from ..history import History, check_history
from ..recorders import DEFAULT_WAIT, CandidateRecorder
from ..sandbox import Sandbox
from .assertions import is_equal, is_true
from .candidates import elected

__all__ = ["ContentionCases"]


class ContentionCases:
    """Histories of a whole election."""

    def test_candidate_is_elected_eventually_under_contention(self, sandbox: Sandbox) -> None:
        """Five candidates that resign as soon as they are elected all become leader."""
        # Each of a program of its own: those of one store wait for each other in its engine.
        key, led = sandbox.key("leader"), set[str]()
        candidates = [Candidate(sandbox.open(), key, f"c{n}", ttl=sandbox.ttl) for n in range(5)]
        for candidate in candidates:
            candidate.run_for_election()
        until = now() + 3 * DEFAULT_WAIT
        while len(led) < 5:
            assert now() < until, f"only {sorted(led)} have led"
            for candidate in candidates:
                if candidate.is_leader:
                    led.add(candidate.value)
                    candidate.resign(4 * DEFAULT_WAIT)
            time.sleep(0.005)
        for candidate in candidates:
            is_true(candidate.stop(), "stop")

    def test_candidates_of_one_store_lead_in_turn(self, sandbox: Sandbox) -> None:
        """They share a session, so each enters after the withdrawal of the one before it."""
        key, store = sandbox.key("leader"), sandbox.open()
        candidates = [Candidate(store, key, f"c{n}", ttl=sandbox.ttl) for n in range(5)]
        for candidate in candidates:
            candidate.run_for_election()
        last = 0
        for candidate in candidates:
            term = elected(candidate, DEFAULT_WAIT)
            assert term.token > last, f"tokens {last} and then {term.token}"
            last = term.token
            is_true(candidate.resign(4 * DEFAULT_WAIT), "resign")
        for candidate in candidates:
            is_true(candidate.stop(), "stop")
        is_equal(store.leader(key), None, "the leader afterwards")

    def test_history_is_correct_under_contention(self, sandbox: Sandbox) -> None:
        """Four programs, two of the same name, resign, leave and come back at random for two seconds."""
        key, history, over = sandbox.key("leader"), History(), threading.Event()
        surprises = list[BaseException]()

        def campaign(number: int) -> None:
            rng, store, life = random.Random(number), sandbox.open(), 0
            try:
                while not over.is_set():
                    life += 1
                    candidate = Candidate(store, key, f"c{number // 2}", ttl=sandbox.ttl)
                    recorder = CandidateRecorder(
                        history, candidate, f"program {number}, life {life}"
                    )
                    for _ in range(3):
                        term = None
                        with suppress(NotElected):  # the store has not answered in 0.4 s
                            term = candidate.wait_elected(0.4)
                        over.wait(rng.uniform(0, 0.02))
                        if term is not None:
                            candidate.resign(rng.uniform(0, 0.05))
                    if number == 3 and life % 2:
                        store.close()
                        store = sandbox.open()
                    candidate.stop()
                    assert recorder.join(DEFAULT_WAIT), "events go on after stop"
            except BaseException as error:  # noqa: BLE001 - raised in the thread of the case
                surprises.append(error)

        threads = [threading.Thread(target=campaign, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        over.set()
        for thread in threads:
            thread.join(4 * DEFAULT_WAIT)
        if surprises:
            raise surprises[0]
        faults = check_history(history)
        assert not faults, "\n".join(faults)
        terms = len({interval.token for interval in history.intervals})
        assert terms > 3, f"only {terms} terms in two seconds: {history.intervals}"
