"""All figures in their order, and the stores that each runs on."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from .children import Children
from .figures import calls, crash, follower, handover, imports, installs, scale, start, traffic
from .run import Run
from .servers import Target

__all__ = ["FIGURES", "expected_steps", "measure_all"]

log: logging.Logger = logging.getLogger("leadership.command")


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure.

    Attributes:
        summary: what it measures.
        on_store: measures it on one store; None if it needs none.
        alone: measures it without a store.
        parallel: whether all stores are measured at the same time, since it counts, or waits for leases.
        seconds: that it takes on one store, about.
        quick: the same with `--quick`.
    """

    summary: str
    on_store: Callable[[Run, Target], None] | None = None
    alone: Callable[[Run], None] | None = None
    parallel: bool = False
    seconds: float = 10.0
    quick: float = 5.0


FIGURES = {
    "calls": _Figure("is_leader", alone=calls.measure, seconds=5, quick=3),
    "import": _Figure("import, and start of commands", alone=imports.measure, seconds=40, quick=15),
    "install": _Figure("size of an installation", alone=installs.measure, seconds=1, quick=1),
    "start": _Figure("from start to elected", start.measure, seconds=12, quick=6),
    "handover": _Figure(
        "from a resignation to the next leader", handover.measure, seconds=65, quick=15
    ),
    "follower": _Figure("until a follower knows", follower.measure, seconds=15, quick=5),
    "crash": _Figure(
        "from a crash to the next leader", crash.measure, parallel=True, seconds=50, quick=15
    ),
    "traffic": _Figure(
        "requests, bytes and writes", traffic.measure, parallel=True, seconds=130, quick=50
    ),
    "scale": _Figure("many elections in one process", scale.measure, seconds=80, quick=25),
}
"""All figures, in the order in which they are measured; the names are those of `--only`."""


def expected_steps(
    names: Collection[str], targets: Sequence[Target], *, quick: bool
) -> dict[str, float]:
    """The steps of a run, and about how many seconds each takes."""
    steps = {}
    for name, figure in FIGURES.items():
        if name not in names:
            continue
        seconds = figure.quick if quick else figure.seconds
        if figure.on_store is None or figure.parallel:
            steps[name] = seconds
        else:
            steps |= {f"{name} {target.scheme}": seconds for target in targets}
    return steps


def measure_all(run: Run, names: Collection[str]) -> None:
    """Measure these figures.

    Raises:
        KeyboardInterrupt: as it came; the results so far are in `run.results`.
    """
    for name, figure in FIGURES.items():
        if name not in names:
            continue
        if figure.alone is not None:
            _step(run, name, partial(figure.alone, run))
        elif figure.on_store is not None and figure.parallel:
            _step(run, name, partial(_at_once, run, figure.on_store))
        elif figure.on_store is not None:
            for target in run.targets:
                _step(run, f"{name} {target.scheme}", partial(figure.on_store, run, target))


def _step(run: Run, name: str, measure: Callable[[], None]) -> None:
    run.progress.begin(name)
    try:
        measure()
    except Exception as error:  # the other figures are measured all the same
        log.exception("measuring %s failed", name)
        run.results.failures.append(name)
        run.results.note(f"{name} failed: {type(error).__name__}: {error}")
    run.progress.end(name)


def _at_once(run: Run, measure: Callable[[Run, Target], None]) -> None:
    """Measure on all stores at the same time, each in a thread with processes of its own."""
    is_ending = threading.Event()
    failures: list[Exception] = []

    def on_store(target: Target, number: int) -> None:
        try:
            with Children(is_ending.is_set) as children:
                own = dataclasses.replace(
                    run, children=children, sandbox=f"{run.sandbox}/{number}", _keys=0
                )
                measure(own, target)
        except KeyboardInterrupt:
            pass
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)

    # A process that ends with its parent ends with the thread that started it, so each of these
    # threads lives as long as its processes.
    threads = [
        threading.Thread(target=on_store, args=(target, number), daemon=True)
        for number, target in enumerate(run.targets)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
    finally:
        is_ending.set()
        for thread in threads:
            thread.join(10)
    if failures:
        raise failures[0]
