"""Children that outlive their parents, signals, and the end of the interpreter."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from tests.faults.catalogue import ALL, scenario
from tests.faults.stand import Stand

_HANDOVER = 2.0  # seconds in which another one leads where nobody has to wait for a ttl


@pytest.mark.parametrize("how", ["fork", "exec"])
@scenario(29, on=ALL)
def test_29_child_outlives_the_leader(stand: Stand, how: str) -> None:
    """It has its parent's sockets and memory; it never leads, and keeps nothing alive."""
    first = stand.candidate("first", odd=f"endings.leaves_a_child:{how}")
    reign = stand.leader()
    second = stand.candidate("second")
    first.cue()
    child = first.await_remark("child", 5)["child"]
    stand.undo(lambda: _kill(child))
    stand.sleep(0.5)
    assert stand.leader() == reign

    stand.mark("SIGKILL first, whose child lives on")
    killed = stand.chronicle.marks[-1].at
    first.process.kill()
    newer = stand.leader(after=reign)

    assert newer.worker is second
    # Half a second for a machine that has other things to do.
    assert (newer.since - killed) / 1e9 < stand.times.failover(stand.ttl) + 0.5
    os.kill(child, 0)  # it does
    stand.sleep(0.5)
    assert "the child leads" not in first.process.tail()
    stand.finish()


def _kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


@scenario(29, on=ALL)
def test_29_interrupted_all_the_time(stand: Stand) -> None:
    """Handlers may look, ask for iterators, and stop, whatever they interrupt."""
    first = stand.candidate("first", odd="endings.is_interrupted")
    reign = stand.leader()
    second = stand.candidate("second")
    with stand.fault("first is interrupted a thousand times a second"):
        stand.sleep(stand.times.leases + 0.5)
        assert stand.leader() == reign
    first.ending = True
    first.cue()
    assert first.await_remark("stopped", stand.ttl + 5)["stopped"] is True
    assert stand.leader(_HANDOVER, after=reign).worker is second
    assert first.process.wait(stand.ttl + 10) == 0
    stand.finish()


@pytest.mark.parametrize(
    ("how", "code"),
    [("returns", 0), ("raises", 1), ("interrupted", -2), ("exits in a thread", 0)],
)
@scenario(29, on=ALL)
def test_29_program_ends(stand: Stand, how: str, code: int) -> None:
    """What it holds is released on its way out, whatever its threads are at; nobody waits long."""
    assert _end(stand, how) == code


@scenario(29, on=["consul"], quick=["consul"])
def test_29_program_falls_off_its_end(stand: Stand) -> None:
    """Likewise, in the usual run."""
    assert _end(stand, "raises") == 1


def _end(stand: Stand, how: str) -> int:
    first = stand.candidate("first", odd=f"endings.ends:{how}")
    reign = stand.leader()
    second = stand.candidate("second")

    stand.mark(f"first {how}")
    first.cue()
    assert stand.leader(_HANDOVER, after=reign).worker is second
    code = first.process.wait(5)
    said = first.process.tail(200)
    assert "Fatal Python error" not in said, said
    assert "Exception ignored" not in said, said
    stand.finish()
    return code


@scenario(29, on=ALL)
def test_29_program_crashes(stand: Stand) -> None:
    """It ends without a chance to say so: the next one leads when the store has given up on it."""
    first = stand.candidate("first", odd="endings.ends:crashes")
    reign = stand.leader()
    second = stand.candidate("second")

    stand.mark("first crashes")
    first.cue()
    assert stand.leader(after=reign).worker is second
    assert first.process.wait(5) == 9
    stand.finish()
