"""Programs of users, checked by mypy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

from leadership_core import CandidateEvent, Event, FollowerEvent

_ROOT = Path(__file__).parents[2]

_PROGRAM = """
from typing import assert_never
from leadership_core import (
    Campaigning, Candidate, CandidateEvent, Elected, Follower, FollowerEvent, LeaderChanged, Lost,
    Resigned, Resumed, Stopped, StoreDown, StoreUp, Suspended, graceful_exit, open_store,
)

def reported(event: CandidateEvent) -> str:
    match event:
        case Elected(term):
            return str(term.token)
        case Lost(reason):
            return reason
        case Suspended(remaining):
            return str(remaining)
        case StoreDown(error):
            return str(error)
        case Campaigning() | Resumed() | Resigned() | StoreUp() | Stopped():
            return event.name
        case _:
            assert_never(event)

def seen(event: FollowerEvent) -> str:
    match event:
        case LeaderChanged(leader):
            return str(leader)
        case StoreDown(error):
            return str(error)
        case {last}:
            return event.name
        case _:
            assert_never(event)

graceful_exit()
with open_store("memory://x") as store:
    with Candidate(store, "key", "value") as candidate:
        for event in candidate.events():
            print(reported(event))
    for change in Follower(store, "key").events():
        print(seen(change))
"""


def test_match_over_events_is_checked_for_completeness(tmp_path: Path) -> None:
    """Mypy reports an event that a `match` leaves out, and nothing else."""
    complete, incomplete = tmp_path / "complete.py", tmp_path / "incomplete.py"
    complete.write_text(_PROGRAM.replace("{last}", "StoreUp() | Stopped()"))
    incomplete.write_text(_PROGRAM.replace("{last}", "StoreUp()"))

    done = subprocess.run(  # both in one run, which reads the library once
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            *("--cache-dir", tmp_path / "cache", complete, incomplete),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    (error,) = done.stdout.splitlines()
    assert error.startswith(str(incomplete)), done.stdout
    assert "assert_never" in error
    assert "Stopped" in error


def test_unions_have_all_events() -> None:
    """A new event is in one of them, so that a `match` over it is checked."""
    members = {one.__name__ for one in (*get_args(CandidateEvent), *get_args(FollowerEvent))}

    assert members == {one.__name__ for one in Event.__subclasses__()}
