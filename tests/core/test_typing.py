"""Programs of users as a type checker sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

_PROGRAM = """
from typing import assert_never
from leadership_core import (
    Campaigning, Candidate, CandidateEvent, Elected, Follower, FollowerEvent, LeaderChanged, Lost,
    Resigned, Resumed, Stopped, StoreDown, StoreUp, Suspended, graceful_exit, open_store,
)

def told(event: CandidateEvent) -> str:
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
            print(told(event))
    for change in Follower(store, "key").events():
        print(seen(change))
"""


@pytest.mark.parametrize(
    ("last", "complete"), [("StoreUp() | Stopped()", True), ("StoreUp()", False)]
)
def test_match_over_events_is_checked_for_completeness(
    tmp_path: Path, last: str, complete: bool
) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM.replace("{last}", last))

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), program],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) == complete, done.stdout
    assert complete or "assert_never" in done.stdout
