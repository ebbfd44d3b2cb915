"""One run of the bench: what the figures have in common, and contenders that cannot be measured."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .children import Children
from .contenders import Contender
from .environment import load
from .group import Dropped, Group, TooMany
from .progress import Progress
from .results import Results
from .servers import Target
from .tables import NAMES

__all__ = ["Effort", "Run"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: the most pairs of a case.
        seconds: after which a case ends although it has fewer pairs.
        waiting: candidates that wait, in one process.
        processes: candidates that wait, each in a process of its own.
        crowd: processes that wait for one leader, ours and programs only.
        crowd_seconds: after which that case ends; a hand-over among so many takes longer, and its
            99th percentile needs more than two or three of them.
        crashes: leaders killed per contender.
        elections: elections in one process.
        window: seconds for which idle candidates are counted.
        repeats: of imports and of calls.
    """

    rounds: int = 30
    seconds: float = 5.0
    waiting: tuple[int, ...] = (1, 10, 100, 1000)
    processes: tuple[int, ...] = (1, 10)
    crowd: int = 60
    crowd_seconds: float = 40.0
    crashes: int = 3
    elections: tuple[int, ...] = (1, 100, 1000, 10_000)
    window: float = 5.0
    repeats: int = 15

    @classmethod
    def quick(cls) -> Effort:
        """The effort of `--quick`: one to two minutes for a store."""
        return cls(
            rounds=6,
            seconds=3.0,
            waiting=(1, 10),
            processes=(1,),
            crowd=0,
            crashes=1,
            elections=(1, 100),
            window=2.0,
            repeats=5,
        )


@dataclass
class Run:
    """One run of the bench.

    Attributes:
        results: what it has found so far.
        targets: the stores.
        contenders: of each store, by its scheme, ours first.
        effort: how much is measured.
        children: all child processes.
        progress: prints how far it is.
        sandbox: the prefix of all keys of the run.
    """

    results: Results
    targets: Sequence[Target]
    contenders: dict[str, list[Contender]]
    effort: Effort
    children: Children
    progress: Progress
    sandbox: str = field(default_factory=lambda: f"leadership-bench/{secrets.token_hex(6)}")
    _keys: int = 0

    def key(self) -> str:
        """A key of the run's own."""
        self._keys += 1
        return f"{self.sandbox}/{self._keys}"

    def group(self, contender: Contender, target: Target) -> Group:
        """A group of candidates for a key of its own."""
        return Group(self.children, contender, target, self.key())

    @contextlib.contextmanager
    def groups(
        self,
        target: Target,
        start: Callable[[Group], object],
        where: str,
        names: Sequence[str] = (),
    ) -> Iterator[list[Group]]:
        """One started group of each contender; those that cannot take part are noted.

        Args:
            target: the store.
            start: starts a group.
            where: the figure and the case, for the note.
            names: of the contenders that take part; all if there are none.
        """
        with contextlib.ExitStack() as stack:
            started = []
            for contender in self.contenders[target.scheme]:
                if names and contender.name not in names:
                    continue
                group = stack.enter_context(self.group(contender, target).running())
                try:
                    start(group)
                except Dropped as reason:
                    self.drop(target, contender, where, reason)
                    group.end()
                else:
                    started.append(group)
            yield started

    def drop(self, target: Target, contender: Contender, where: str, reason: object) -> None:
        """Note that a contender does not take part in a case."""
        if not isinstance(reason, TooMany):
            text = f"left out of {where}: {reason}"
        elif contender.is_command:
            text = "left out of cases with several candidates in one process: each is a process"
        else:
            text = (
                f"left out of cases with more than {contender.most:,} candidates in one process:"
                " it has a thread or more for each"
            )
        store = NAMES.get(target.scheme, target.scheme)
        self.results.note(f"{contender.name} on {store}: {text}.")

    def in_turn(
        self,
        figure: str,
        case: str,
        unit: str,
        groups: list[Group],
        measure: Callable[[Group], float],
        seconds: float | None = None,
    ) -> None:
        """Measure each group once per round, ours and theirs in turn, and add a series for each.

        Args:
            figure: the name of the figure.
            case: of the figure.
            unit: of the values.
            groups: all of one store.
            measure: measures a group once; raises `Dropped` if it fails.
            seconds: after which the case ends; by default those of the effort.
        """
        if not groups:
            return
        target = groups[0].target
        values: dict[str, list[float | None]] = {group.contender.name: [] for group in groups}
        until = time.monotonic() + (self.effort.seconds if seconds is None else seconds)
        failures: dict[str, int] = {}
        live = list(groups)
        busy = load()
        for number in range(self.effort.rounds + 1):
            if not live or (time.monotonic() > until and number > 2):
                break
            # Each round begins with another one, so that none is always measured after the same one.
            shift = number % len(live)
            for group in live[shift:] + live[:shift]:
                name = group.contender.name
                try:
                    found: float | None = measure(group)
                except Dropped as reason:
                    found = None
                    failures[name] = failures.get(name, 0) + 1
                    if failures[name] > 1:
                        self.drop(target, group.contender, f"{figure}, {case}", reason)
                        live = [one for one in live if one is not group]
                if number:  # the first round is a warm-up
                    values[name].append(found)
            self.progress.detail(f"{figure} {target.scheme}", f"{case}, round {number}")
        for name, found_ in values.items():
            if any(value is not None for value in found_):
                self.results.add(figure, target.scheme, case, name, unit, found_)
        if busy > 2 * max(1, self.results.environment.get("processors", 1)):
            self.results.note(
                "The machine was busy with other work during a part of the run (a load of more than "
                "twice its processors): single times are longer than on a quiet one."
            )
