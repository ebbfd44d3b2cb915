"""Children that outlive their parents, signals, and the end of the interpreter."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from tests.support.testbed import Testbed
from tests.support.waiting import at_most
from tests.system.catalogue import EVERY, scenario

_HANDOVER = 2.0  # seconds in which another one leads where no ttl has to expire


@pytest.mark.parametrize("how", ["fork", "exec"])
@scenario(29, on=EVERY)
def test_29_child_outlives_the_leader(testbed: Testbed, how: str) -> None:
    """The child has its parent's sockets and memory; it never leads, and keeps nothing alive."""
    first = testbed.candidate("first", faulty=f"endings.leaves_a_child:{how}")
    leader = testbed.await_leader()
    second = testbed.candidate("second")
    first.trigger()
    child = first.await_remark("child", 5)["child"]
    testbed.undo(lambda: _kill(child))
    testbed.sleep(0.5)
    assert testbed.await_leader() == leader

    testbed.mark("SIGKILL first, whose child lives on")
    killed = testbed.fault_log.marks[-1].at
    first.process.kill()
    newer = testbed.await_leader(after=leader)

    assert newer.worker is second
    # Half a second for a machine that has other things to do.
    assert (newer.since - killed) / 1e9 < at_most(testbed.times.failover(testbed.ttl) + 0.5)
    os.kill(child, 0)  # it does
    testbed.sleep(0.5)
    assert "the child leads" not in first.process.tail()
    testbed.finish()


def _kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


@scenario(29, on=EVERY)
def test_29_interrupted_all_the_time(testbed: Testbed) -> None:
    """Signal handlers may read, open iterators, and stop, whatever they interrupt."""
    first = testbed.candidate("first", faulty="endings.is_interrupted")
    leader = testbed.await_leader()
    second = testbed.candidate("second")
    with testbed.fault("first is interrupted a thousand times a second"):
        testbed.sleep(testbed.times.leases + 0.5)
        assert testbed.await_leader() == leader
    first.ending = True
    first.trigger()
    assert first.await_remark("stopped", testbed.ttl + 5)["stopped"] is True
    assert testbed.await_leader(_HANDOVER, after=leader).worker is second
    assert first.process.wait(testbed.ttl + 10) == 0
    testbed.finish()


@pytest.mark.parametrize(
    ("how", "code"),
    [("returns", 0), ("raises", 1), ("interrupted", -2), ("exits in a thread", 0)],
)
@scenario(29, on=EVERY)
def test_29_program_ends(testbed: Testbed, how: str, code: int) -> None:
    """Its claim is released at its end, whatever its threads do; the next candidate leads soon."""
    assert _end(testbed, how) == code


@scenario(29, on=["consul"], quick=["consul"])
def test_29_program_falls_off_its_end(testbed: Testbed) -> None:
    """The main thread returns; in the usual run."""
    assert _end(testbed, "raises") == 1


def _end(testbed: Testbed, how: str) -> int:
    first = testbed.candidate("first", faulty=f"endings.ends:{how}")
    leader = testbed.await_leader()
    second = testbed.candidate("second")

    testbed.mark(f"first {how}")
    first.trigger()
    assert testbed.await_leader(_HANDOVER, after=leader).worker is second
    code = first.process.wait(5)
    said = first.process.tail(200)
    assert "Fatal Python error" not in said, said
    assert "Exception ignored" not in said, said
    testbed.finish()
    return code


@scenario(29, on=EVERY)
def test_29_program_crashes(testbed: Testbed) -> None:
    """It cannot release its claim: the next candidate leads when the store ends the session."""
    first = testbed.candidate("first", faulty="endings.ends:crashes")
    leader = testbed.await_leader()
    second = testbed.candidate("second")

    testbed.mark("first crashes")
    first.trigger()
    assert testbed.await_leader(after=leader).worker is second
    assert first.process.wait(5) == 9
    testbed.finish()
