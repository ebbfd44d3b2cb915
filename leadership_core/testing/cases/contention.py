"""Many that want to lead, for a while."""

from __future__ import annotations

import random
import threading
import time

from ...candidate import Candidate
from ...clock import now
from ..heard import PATIENCE
from ..history import History, check_history
from ..lab import Lab
from ..witness import Witness
from .expectations import is_true

__all__ = ["ContentionCases"]


class ContentionCases:
    """Histories of a whole election."""

    def test_everybody_gets_a_turn(self, lab: Lab) -> None:
        """Of five candidates that resign as soon as they lead, each leads."""
        key, store, led = lab.key("leader"), lab.open(), set[str]()
        candidates = [Candidate(store, key, f"c{n}", ttl=lab.ttl) for n in range(5)]
        for candidate in candidates:
            candidate.run_for_election()
        until = now() + 3 * PATIENCE
        while len(led) < 5:
            assert now() < until, f"only {sorted(led)} have led"
            for candidate in candidates:
                if candidate.is_leader:
                    led.add(candidate.value)
                    candidate.resign(4 * PATIENCE)
            time.sleep(0.005)
        for candidate in candidates:
            is_true(candidate.stop(), "stop")

    def test_contention_leaves_a_sound_history(self, lab: Lab) -> None:
        """Four programs, two of one name, resign, leave and come back at random for two seconds."""
        key, history, over = lab.key("leader"), History(), threading.Event()
        surprises = list[BaseException]()

        def stand(number: int) -> None:
            rng, store, life = random.Random(number), lab.open(), 0
            try:
                while not over.is_set():
                    life += 1
                    candidate = Candidate(store, key, f"c{number // 2}", ttl=lab.ttl)
                    witness = Witness(history, candidate, f"program {number}, life {life}")
                    for _ in range(3):
                        term = candidate.wait_elected(0.4)
                        over.wait(rng.uniform(0, 0.02))
                        if term is not None:
                            candidate.resign(rng.uniform(0, 0.05))
                    if number == 3 and life % 2:
                        store.close()
                        store = lab.open()
                    candidate.stop()
                    assert witness.join(PATIENCE), "events go on after stop"
            except BaseException as error:  # noqa: BLE001 - told in the thread of the case
                surprises.append(error)

        threads = [threading.Thread(target=stand, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        over.set()
        for thread in threads:
            thread.join(4 * PATIENCE)
        if surprises:
            raise surprises[0]
        faults = check_history(history)
        assert not faults, "\n".join(faults)
        terms = len({belief.token for belief in history.beliefs})
        assert terms > 3, f"only {terms} terms in two seconds: {history.beliefs}"
