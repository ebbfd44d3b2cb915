"""Figure: from a leader's resignation to the report of the next leader by followers."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from ..contenders import Contender
from ..group import Dropped, Group
from ..results import OURS
from ..run import Run
from ..servers import Target

__all__ = ["measure"]

_CASE = "after the resignation"


def measure(run: Run, target: Target) -> None:
    """Let the followers of all contenders that share our elections watch the same one."""
    ours = next(one for one in run.contenders[target.scheme] if one.name == OURS)
    leaders = run.group(ours, target)
    values: dict[str, list[float | None]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(leaders.running())
        try:
            leaders.start(2, 1)
        except Dropped as reason:
            run.drop(target, ours, "follower", reason)
            return
        followers = []
        for contender in _followers(run, target):
            group = Group(run.children, contender, target, leaders.key)
            stack.enter_context(group.running())
            try:
                group.open(1)
                if contender.is_command:
                    group.join(0, 1)
                else:
                    group.follow()
            except Dropped as reason:
                run.drop(target, contender, "follower", reason)
            else:
                followers.append(group)
                values[contender.name] = []
        run.children.run_for(1.0)
        for number in range(min(run.effort.rounds, 20) + 1):
            try:
                begun = time.monotonic()
                seconds = leaders.hand_over(10.0)
            except Dropped as reason:
                run.drop(target, ours, "follower", reason)
                break
            begun = (leaders.elected_since(begun) or time.monotonic()) - seconds
            run.children.run_for(0.2)
            for group in followers:
                # All candidates have the same value, so the last report after the beginning counts.
                seen = [at for _, at in group.seen if at > begun]
                if number:
                    values[group.contender.name].append(1000 * (seen[-1] - begun) if seen else None)
    for name, found in values.items():
        if any(value is not None for value in found):
            run.results.add("follower", target.scheme, _CASE, name, "ms", found)


def _followers(run: Run, target: Target) -> list[Contender]:
    found = []
    for one in run.contenders[target.scheme]:
        if one.name == OURS or one.name.startswith("Go"):
            found.append(one)
        elif one.name == "etcdctl elect":
            found.append(
                replace(
                    one,
                    name="etcdctl elect --listen",
                    command=lambda key, _: ["elect", "--listen", key],
                    parse=lambda line: f"leader {line}" if line.startswith("candidate-") else "",
                )
            )
    return found
