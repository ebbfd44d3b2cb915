"""A pause of the whole process, as by SIGSTOP, and the first call after it."""

from __future__ import annotations

import ctypes
import sys

from leadership_core import Candidate
from tests.unit.faulty import FaultyStore

_TTL = 0.9


def pause(seconds: float) -> None:
    """Let no thread of this process run for that long."""
    # Functions of a PyDLL keep the interpreter to themselves.
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def test_is_leader_is_false_at_the_first_call_after_a_pause() -> None:
    """No other thread has run by then, neither the one that renews nor the scheduler."""
    interval = sys.getswitchinterval()
    with FaultyStore().opened() as store:
        candidate = Candidate(store, "key", "a", ttl=_TTL)
        term = candidate.wait_elected(3)
        assert term is not None
        sys.setswitchinterval(60)
        try:
            pause(_TTL)
            found = candidate.is_leader, term.lost, candidate.term
        finally:
            sys.setswitchinterval(interval)

    assert found == (False, True, None)
