"""Run of many hand-overs for a long time, with samples of what the processes use meanwhile."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.paths import python_path
from tests.support.servers.process import Process
from tests.support.waiting import at_most
from tests.system.load.recording import campaigning_in, handovers_of, intervals_of, leading_in
from tests.system.load.stores import LoadedStore, running
from tests.system.load.usage import growth, usage_of
from tests.system.load.verdict import faults_of

__all__ = ["Soak", "SoakOutcome", "run_soak", "worker"]

_SAMPLES = 600  # of a run, at most


@dataclass(frozen=True)
class Soak:
    """The size of a run.

    Attributes:
        kind: of the store.
        seconds: how long it lasts.
        elections: how many; each has a candidate in each process.
        term: seconds after which a leader resigns.
        processes: of candidates.
        ttl: seconds.
        nodes: servers of the store.
    """

    kind: str
    seconds: float
    elections: int = 50
    term: float = 1.0
    processes: int = 2
    ttl: float = 10.0
    nodes: int = 1


@dataclass
class SoakOutcome:
    """What a run has shown.

    Attributes:
        soak: its size.
        samples: each has the seconds since the start, the hand-overs so far, and for each process,
            and for the servers together, what it used.
        handovers: how many terms were resigned from.
        terms: how many there were.
        faults: what was wrong; none if all went well.
    """

    soak: Soak
    samples: list[dict[str, Any]] = field(default_factory=list)
    handovers: int = 0
    terms: int = 0
    faults: list[str] = field(default_factory=list)

    def series(self, who: str, what: str) -> list[tuple[float, float]]:
        """The values of one figure of one process, with their times."""
        return [(one["at"], one[who][what]) for one in self.samples if one.get(who)]

    def grown(self, who: str, what: str) -> float:
        """By how much a figure of a process has grown; see `usage.growth`."""
        return growth([value for _, value in self.series(who, what)])

    @property
    def workers(self) -> list[str]:
        """The names of the candidate processes."""
        return [f"candidates {number}" for number in range(1, self.soak.processes + 1)]


@contextmanager
def worker(url: str, recording: Path, prefix: str = "load", **options: Any) -> Iterator[Process]:
    """Start a process of `tests.system.load.worker`; it is killed at the end if it still runs."""
    words = [
        f"--{name.replace('_', '-')}" + (f"={value}" if value != "" else "")
        for name, value in options.items()
    ]
    command = [sys.executable, "-m", "tests.system.load.worker", url, prefix, str(recording)]
    process = Process([*command, *words], recording.with_suffix(".log"), python_path())
    process.start()
    try:
        yield process
    finally:
        process.kill()


def run_soak(soak: Soak, report: Callable[[str], None] = lambda line: None) -> SoakOutcome:
    """Run it to its end.

    Args:
        soak: what to run.
        report: called with a line about every fiftieth of the run.
    """
    outcome = SoakOutcome(soak)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        store = stack.enter_context(running(soak.kind, nodes=soak.nodes))
        files = [folder / f"{who}.recording" for who in outcome.workers]
        processes = [
            stack.enter_context(
                worker(
                    *(store.url, file),
                    elections=soak.elections,
                    ttl=soak.ttl,
                    term=soak.term,
                )
            )
            for file in files
        ]
        for process, file in zip(processes, files, strict=True):
            process.wait_until(partial(campaigning_in, file), at_most(60.0))
        _sample(outcome, store, processes, files, report)
        for process in processes:
            process.send(signal.SIGTERM)
        codes = [process.wait(4 * soak.ttl) for process in processes]
        if any(codes):
            tails = "\n".join(process.tail(5) for process in processes)
            outcome.faults.append(f"the candidates have ended with {codes}: {tails}")
        outcome.handovers = sum(map(handovers_of, files))
        for number, intervals in sorted(intervals_of(files).items()):
            outcome.terms += len(intervals)
            outcome.faults += [f"election {number}: {one}" for one in faults_of(intervals)]
    return outcome


def _sample(
    outcome: SoakOutcome,
    store: LoadedStore,
    processes: list[Process],
    files: list[Path],
    report: Callable[[str], None],
) -> None:
    soak, begun = outcome.soak, time.monotonic()
    step = max(1.0, soak.seconds / _SAMPLES)
    reported = 0.0
    while (at := time.monotonic() - begun) < soak.seconds:
        sample: dict[str, Any] = {
            "at": round(at, 1),
            "handovers": sum(map(handovers_of, files)),
            "leading": sum(map(leading_in, files)),
        }
        for who, process in zip(outcome.workers, processes, strict=True):
            usage = usage_of(process.pid)
            if usage is None or not process.alive:
                outcome.faults.append(f"{who} has ended after {at:.0f} s: {process.tail(10)}")
                return
            sample[who] = asdict(usage)
        servers = [usage for pid in store.pids() if (usage := usage_of(pid))]
        if servers:
            sample["servers"] = {
                what: sum(getattr(one, what) for one in servers)
                for what in ("memory", "threads", "descriptors", "cpu")
            }
        outcome.samples.append(sample)
        if at >= reported:
            reported += soak.seconds / 50
            report(_line(soak, sample, outcome.workers))
        time.sleep(min(step, max(0.0, soak.seconds - at)))


def _line(soak: Soak, sample: dict[str, Any], workers: list[str]) -> str:
    parts = [
        f"{sample[who]['memory'] / 2**20:.1f} MiB, {sample[who]['threads']} threads,"
        f" {sample[who]['descriptors']} descriptors"
        for who in workers
    ]
    head = f"{soak.kind}: {sample['at']:.0f} s, {sample['handovers']} hand-overs"
    return f"{head}, {sample['leading']} of {soak.elections} led; {'; '.join(parts)}"
