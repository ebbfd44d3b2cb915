"""The whole process stands still, as by SIGSTOP, and the first that runs afterwards asks."""

from __future__ import annotations

import ctypes
import sys

from leadership_core import Candidate
from tests.core.faulty import FaultyStore

_TTL = 0.9


def stand_still(seconds: float) -> None:
    """Let no thread of this process run for so long."""
    # Functions of a PyDLL keep the interpreter to themselves.
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_the_first_question_after_a_pause_is_answered_by_the_clock() -> None:
    """No other thread has run by then: not the one that renews, nor the one that has the timers."""
    interval = sys.getswitchinterval()
    with FaultyStore().opened() as store:
        candidate = Candidate(store, "key", "a", ttl=_TTL)
        term = candidate.wait_elected(3)
        assert term is not None
        sys.setswitchinterval(60)
        try:
            stand_still(_TTL)
            says = candidate.is_leader, term.lost, candidate.term
        finally:
            sys.setswitchinterval(interval)

    assert says == (False, True, None)
