"""Program that runs many children behind one guard, and prints what it has used before and after.

    many_children.py NUMBER COMMAND...

A process of its own, because it adopts orphans.
"""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path

from leadership_core.backend import clock
from leadership_core.cli.end_times import EndTimes
from leadership_core.cli.guarded_child import GuardedChild
from leadership_core.cli.supervisor import ChildEnded, ChildStarted

_FIRST = 20  # children after which everything has been used once


def _usage(pid: int | str) -> dict[str, int]:
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {
        "descriptors": len(list((folder / "fd").iterdir())),
        "threads": int(status["Threads"]),
        "kilobytes": int(status["VmRSS"].split()[0]),
        "children": len((folder / "task" / str(pid) / "children").read_text().split()),
    }


def main(number: str, *command: str) -> None:
    """Run the children one after the other."""
    guarded = GuardedChild(command, os.environ, 1.0, set())
    before = {}
    with guarded:
        (guard,) = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for token in range(int(number) + _FIRST):
            if token == _FIRST:
                before = {"this": _usage(os.getpid()), "guard": _usage(int(guard))}
            now = clock.now()
            guarded.start(token, EndTimes(now + 60, now + 70, now + 80), foreground=False)
            reports: list[object] = []
            while not any(isinstance(one, ChildEnded) for one in reports):
                select.select([guarded], [], [])
                reports += guarded.read()
            assert isinstance(reports[0], ChildStarted), reports
            assert reports[1:] == [ChildEnded(0, was_asked=False)], reports
        after = {"this": _usage(os.getpid()), "guard": _usage(int(guard))}
    print(json.dumps({"before": before, "after": after}))


main(*sys.argv[1:])
