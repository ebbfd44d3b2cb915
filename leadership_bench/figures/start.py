"""Figure: from the start of a candidate in a running process to its election."""

from __future__ import annotations

import time

from ..group import Group
from ..run import Run
from ..servers import Target

__all__ = ["measure"]


def measure(run: Run, target: Target) -> None:
    """Measure the first candidate of a key, which has no rival.

    A library is imported, and has yet to connect. A program is started, since that is how it is used.
    """

    def open_(group: Group) -> None:
        group.open(1)

    with run.groups(target, open_, "start") as first:
        for group in first:
            group.end()
        contenders = [group.contender for group in first]

    def once(group: Group) -> float:
        fresh = run.group(group.contender, target)
        with fresh.running():
            fresh.open(1)
            run.children.run_for(0.05)
            begun = time.monotonic()
            fresh.join(0, 1)
            fresh.await_leader()
            return 1000 * ((fresh.elected_since(begun) or time.monotonic()) - begun)

    groups = [run.group(contender, target) for contender in contenders]
    run.in_turn("start", "no rival", "ms", groups, once)
