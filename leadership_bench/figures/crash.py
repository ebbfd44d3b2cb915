"""Figure: from the crash of a leader (SIGKILL) to the next leader."""

from __future__ import annotations

from ..group import Dropped, Group
from ..results import Series
from ..run import Run
from ..servers import Target
from ..tables import NAMES

__all__ = ["measure"]


def measure(run: Run, target: Target) -> None:
    """Kill the leaders of all contenders at the same time, since the ttl is most of the time."""
    case = f"ttl {target.ttl:g} s"
    limit = 3 * target.ttl + 5
    series: dict[str, Series] = {}
    for number in range(run.effort.crashes):
        run.progress.detail("crash", f"{target.scheme}, crash {number + 1}")

        def start(group: Group) -> None:
            if group.contender.fixed_ttl:
                raise Dropped(group.contender.fixed_ttl)
            group.start(2, 1)

        with run.groups(target, start, "crash") as groups:
            # At different times after a renewal, since the lease lasts from there.
            run.children.run_for(target.ttl / 2 + number * target.ttl / 7)
            killed: list[tuple[Group, float]] = []
            for group in groups:
                try:
                    killed.append((group, group.crash()))
                except Dropped as reason:
                    run.drop(target, group.contender, "crash", reason)

            def all_elected(killed: list[tuple[Group, float]] = killed) -> bool:
                return all(group.elected_since(at) for group, at in killed)

            run.children.wait(all_elected, limit)
            for group, at in killed:
                name = group.contender.name
                one = series.setdefault(name, Series("crash", target.scheme, case, name, "s"))
                one.values += [None] * (number - len(one.values))  # of crashes without it
                elected = group.elected_since(at)
                one.values.append(elected - at if elected else None)
    for one in series.values():
        if one.summary is None:
            run.results.note(
                f"{one.contender} on {NAMES.get(target.scheme, target.scheme)}:"
                f" no leader within {limit:g} s of a crash."
            )
        else:
            run.results.series.append(one)
