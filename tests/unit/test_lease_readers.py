"""Readers of a lease whose thread is preempted: its end is final for all of them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from leadership_core.engine import lease as lease_module
from leadership_core.engine.lease import Lease
from leadership_core.term import LostReason
from tests.unit.manual_clock import ManualClock


def test_end_found_by_a_reader_is_final_while_an_acknowledgement_is_processed(
    lease: Lease, clock: ManualClock
) -> None:
    """The acknowledgement came in time; its thread is held up before it writes the new deadline."""
    lease.acknowledge(1000.0, 10.0)

    class Sent(float):
        def __add__(self, ttl: float) -> float:
            clock.time = 1009.5
            assert lease.check() is LostReason.EXPIRED
            return float(self) + ttl

    clock.time = 1008.5
    assert not lease.acknowledge(Sent(1008.0), 10.0)

    assert lease.deadline == 1017.0
    assert lease.check() is LostReason.EXPIRED
    assert not lease.is_valid(clock.time)
    assert lease.remaining() == 0.0


class Preempted:
    """Interrupts a call at one step of the interpreter within the lease, as another thread may."""

    def __init__(self, step: int, intruder: Callable[[], object]) -> None:
        self.reached = False
        self._steps = step
        self._intruder = intruder

    def __call__(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return call()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, what: str, argument: object) -> Any:
        if frame.f_code.co_filename != lease_module.__file__:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, what: str, argument: object) -> Any:
        if what == "opcode":
            self._steps -= 1
            if self._steps == 0:
                self.reached = True
                self._intruder()  # which is not traced
        return self._step


class Readers:
    """A lease with a deadline at 1009.0, and what its readers have found so far."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lease = Lease(10.0, now=self.clock)
        self.lease.acknowledge(1000.0, 10.0)
        self.found: list[LostReason | None] = []

    def read(self) -> None:
        """Read as `Term` does: no time left means that the term is over."""
        left, reason = self.lease.remaining(), self.lease.check()
        assert left > 0 or reason is not None
        self.found.append(reason)

    def read_after_the_deadline(self) -> None:
        """What others do while the thread that acknowledges is held up."""
        self.read()
        self.clock.time = 1009.5
        self.read()

    def finish_acknowledging(self) -> None:
        """What the thread that acknowledges still does when it was held up after its first check."""
        self.lease.deadline = 1017.0
        self.read()

    def assert_first_end_is_final(self) -> None:
        self.read()
        reasons = list(itertools.dropwhile(lambda one: one is None, self.found))
        assert len(set(reasons)) <= 1, self.found


def test_end_is_final_wherever_the_acknowledging_thread_is_preempted() -> None:
    """It is held up at each step of the interpreter, and the deadline passes meanwhile."""
    outcomes = set()
    for step in itertools.count(1):
        readers = Readers()
        readers.clock.time = 1008.9
        thread = Preempted(step, readers.read_after_the_deadline)
        in_time = thread(partial(readers.lease.acknowledge, 1008.0, 10.0))
        if not thread.reached:
            break
        assert not in_time or readers.found == [None, None], step
        readers.assert_first_end_is_final()
        outcomes.add(in_time)
    assert outcomes == {True, False}  # both orders of the two threads


@pytest.mark.parametrize("method", ["check", "end", "remaining"])
def test_end_is_final_wherever_a_reading_thread_is_preempted(method: str) -> None:
    """It is held up at each step of the interpreter, and the deadline is moved meanwhile."""
    ends = set()
    for step in itertools.count(1):
        readers = Readers()
        readers.clock.time = 1009.5
        thread = Preempted(step, readers.finish_acknowledging)
        arguments = [LostReason.DELETED] if method == "end" else []
        outcome = thread(partial(getattr(readers.lease, method), *arguments))
        if not thread.reached:
            break
        if method == "check" and outcome is not None:
            readers.found.append(LostReason(outcome))
        readers.assert_first_end_is_final()
        if method == "remaining":
            assert (outcome == 0.0) == (readers.found[-1] is not None), step
        ends.add(readers.found[-1])
    assert ends == {LostReason.EXPIRED, LostReason.DELETED if method == "end" else None}
