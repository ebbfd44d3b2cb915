"""Changes of the wall clock and suspensions, which leases and sessions have to survive."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from leadership_core import Candidate, open_store
from tests.support.waiting import eventually
from tests.unit.faulty import Fault, FaultyStore

_ROOT = Path(__file__).parents[2]
_HOUR = 3600.0

_SUSPENDED = """
import time
right, asleep = time.clock_gettime, 0.0
time.clock_gettime = lambda which: right(which) + (which == time.CLOCK_BOOTTIME) * asleep
from tests.mutation import subprocess_hook
with subprocess_hook.planted():
    from leadership_core import Candidate, open_store
    with open_store("memory://suspended") as store:
        candidate = Candidate(store, "key", "a", ttl=30.0)
        assert candidate.wait_elected(5)
        asleep = 3600.0
        print("it leads" if candidate.is_leader else "it does not lead")
"""


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the wall clock ahead or back, for this process only."""
    wall, wall_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + int(seconds * 1e9))


def test_term_is_not_prolonged_when_the_wall_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store is down, and the wall clock gives the lease another hour."""
    faulty = FaultyStore()
    with faulty.opened() as store:
        candidate = Candidate(store, "key", "a", ttl=1.0)
        term = candidate.wait_elected(3)
        assert term is not None
        faulty.inject(Fault.UNAVAILABLE)
        set_clock(monkeypatch, -_HOUR)

        over = eventually(lambda: not candidate.is_leader and term.lost, 1.5)

        monkeypatch.undo()
        faulty.heal()
        assert over, "it leads by the clock that was set back"


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_session_does_not_end_when_the_wall_clock_is_set_ahead(
    scheme: str, monkeypatch: pytest.MonkeyPatch, quick_folder: Path
) -> None:
    """Neither the leader nor a process that opens the store later ends it."""
    url = "memory://wall" if scheme == "memory" else f"sqlite:///{quick_folder}/wall.db"
    with open_store(url) as store, open_store(url) as other:
        candidate = Candidate(store, "key", "a", ttl=5.0)
        term = candidate.wait_elected(3)
        assert term is not None

        set_clock(monkeypatch, _HOUR)
        leader = other.leader("key")
        remaining = term.remaining()

        monkeypatch.undo()
        assert leader is not None, "its session has ended by the clock that was set ahead"
        assert leader.token == term.token
        assert remaining > 1.0


def test_lease_expires_while_the_machine_is_suspended() -> None:
    """An hour has passed by the boot clock, and none by the monotonic clock."""
    done = subprocess.run(
        [sys.executable, "-c", _SUSPENDED],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert done.stdout == "it does not lead\n", done.stdout + done.stderr
