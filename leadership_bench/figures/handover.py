"""Figure: from a leader's resignation to the next leader."""

from __future__ import annotations

from collections.abc import Sequence

from ..group import Group
from ..results import OURS
from ..run import Run
from ..servers import Target

__all__ = ["measure"]

_LIMIT = 10.0  # seconds

_NATIVE = (OURS, "kazoo Election", "etcdctl elect", "Go concurrency.Election", "consul lock")
"""Those with many processes; the others poll, and would take most of the time and of the machine."""


def measure(run: Run, target: Target) -> None:
    """Measure polite hand-overs with more and more candidates waiting."""
    for waiting in run.effort.processes:
        _measure(run, target, f"{waiting} waiting, each in a process", waiting + 1, 1)
    if run.effort.crowd:
        crowd = run.effort.crowd
        case = f"{crowd} waiting, each in a process"
        _measure(run, target, case, crowd + 1, 1, _NATIVE, run.effort.crowd_seconds)
    waiting_here = set(run.effort.waiting)
    if target.scheme == "consul" and run.effort.crowd:
        waiting_here.add(run.effort.crowd)  # with its goal, since Consul's are limited by a rate
    for waiting in sorted(waiting_here):
        _measure(run, target, f"{waiting} waiting, one process", 1, waiting + 1)


def _measure(
    run: Run,
    target: Target,
    case: str,
    processes: int,
    per_process: int,
    names: Sequence[str] = (),
    seconds: float | None = None,
) -> None:
    def start(group: Group) -> None:
        group.start(processes, per_process)

    run.progress.detail(f"handover {target.scheme}", f"{case}, starting")
    with run.groups(target, start, f"handover, {case}", names) as groups:
        run.children.run_for(0.5 + (processes + per_process) * 0.004)  # until all of them wait
        run.in_turn(
            *("handover", case, "ms", groups, lambda group: 1000 * group.hand_over(_LIMIT)),
            seconds=seconds,
        )
