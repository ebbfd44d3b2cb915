"""Load of many candidate processes on one store: a rolling restart, and an outage of the whole store."""

from __future__ import annotations

import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path

from leadership_core.testing import History
from tests.support.oracle import Run, store_violations
from tests.support.recording import now
from tests.support.servers.process import Process
from tests.support.store_observer import StoreObserver
from tests.support.store_readers import open_reader
from tests.support.waiting import at_most
from tests.system.load.meter import Meter, per_second
from tests.system.load.recording import campaigning_in, intervals_of, leading_in
from tests.system.load.soak import worker
from tests.system.load.stores import LoadedStore, running
from tests.system.load.usage import usage_of
from tests.system.load.verdict import faults_of, longest_gap

__all__ = ["OUTAGES", "Crowd", "CrowdOutcome", "reconnect", "rolling_restart"]

OUTAGES = ("refused", "paused", "killed")
"""How all servers go away: connections are reset and refused; they are frozen; they are killed and restarted."""

_OBSERVED = 3  # elections that are read at the store itself, all the time


@dataclass(frozen=True)
class Crowd:
    """The size of a run.

    Attributes:
        kind: of the store.
        processes: how many.
        elections: how many.
        candidates: in each process.
        on_one_store: candidates that share an open store: its session, connections and threads.
        ttl: seconds.
        nodes: servers of the store.
        seed: selects the elections that are observed, and the processes that are killed.
    """

    kind: str
    processes: int = 10
    elections: int = 100
    candidates: int = 100
    on_one_store: int = 100
    ttl: float = 10.0
    nodes: int = 3
    seed: int = 1


@dataclass
class Step:
    """Something that was done to the processes or the servers, and its effect on the elections.

    Attributes:
        what: in words.
        since, until: seconds since the run began; there has to be a leader of each election after `until`.
        longest: the longest time in seconds that an election was without a leader from then on,
            or since the step began, where only candidates have left.
        last: seconds from `until` to the time when all elections had a leader.
    """

    what: str
    since: float
    until: float
    longest: float = inf
    last: float = inf


@dataclass
class CrowdOutcome:
    """What a run has shown.

    Attributes:
        crowd: its size.
        name: of what was done.
        allowed: seconds without a leader, at most.
        requests: at all servers, in each second; empty where there is no server.
        connections: opened, in each second.
        leading: how many elections were led at some times; each with its time.
        server_cpu: processor seconds of all servers, at the same times.
        steps: what was done.
        faults: what was wrong; none if all went well.
    """

    crowd: Crowd
    name: str
    allowed: float
    requests: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    leading: list[tuple[float, int]] = field(default_factory=list)
    server_cpu: list[tuple[float, float]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    terms: int = 0
    faults: list[str] = field(default_factory=list)

    def most_requests(self, since: float, until: float = inf) -> int:
        """The largest number of requests in one second, between two times of the run."""
        return max(self.requests[int(since) : int(min(until, 1e6)) + 1], default=0)

    def usual_requests(self) -> float:
        """The mean number of requests in a second, in the five seconds before the first step."""
        end = int(self.steps[0].since) if self.steps else len(self.requests)
        before = self.requests[max(0, end - 5) : end]
        return sum(before) / len(before) if before else 0.0


class _RunningCrowd:
    """The processes, meters and observers of one run, and its clock."""

    def __init__(
        self,
        *,
        crowd: Crowd,
        store: LoadedStore,
        folder: Path,
        stack: ExitStack,
        outcome: CrowdOutcome,
        report: Callable[[str], None],
    ) -> None:
        self.crowd, self.store, self.outcome, self.report = crowd, store, outcome, report
        self.began = now() / 1e9
        self.meters = [stack.enter_context(Meter(node.port)) for node in store.nodes]
        self.processes: list[Process] = []
        self.files: list[Path] = []  # of all processes of the run, also of those that have ended
        self._running: list[Path] = []  # by the number of the process
        self._folder, self._stack = folder, stack
        self._url = store.url_through([meter.port for meter in self.meters])
        rng = random.Random(crowd.seed)
        self._observers = {
            number: StoreObserver(
                open_reader(store.kind, store.url, store.nodes, f"load/{number}"), pause=0.1
            )
            for number in rng.sample(range(crowd.elections), min(_OBSERVED, crowd.elections))
        }

    def at(self) -> float:
        """Seconds since the run began."""
        return now() / 1e9 - self.began

    def start(self, number: int) -> None:
        """Start the process with that number, or start it again."""
        file = self._folder / f"process-{number}-{len(self.files)}.recording"
        process = self._stack.enter_context(
            worker(
                *(self._url, file),
                elections=self.crowd.elections,
                candidates=self.crowd.candidates,
                first=number * self.crowd.candidates,
                on_one_store=self.crowd.on_one_store,
                ttl=self.crowd.ttl,
            )
        )
        self.files.append(file)
        if number < len(self.processes):
            self.processes[number], self._running[number] = process, file
        else:
            self.processes.append(process)
            self._running.append(file)

    def await_campaigning(self) -> None:
        """Wait until the candidates of all processes campaign."""
        limit = at_most(60 + 0.1 * self.crowd.candidates)
        for process, file in zip(self.processes, self._running, strict=True):
            process.wait_until(partial(campaigning_in, file), limit)

    def sample(self) -> int:
        """Note how many elections are led now, and return that."""
        led = sum(map(leading_in, self._running))
        at = self.at()
        self.outcome.leading.append((round(at, 2), led))
        cpu = sum(usage.cpu for pid in self.store.pids() if (usage := usage_of(pid)))
        self.outcome.server_cpu.append((round(at, 2), cpu))
        return led

    def watch(self, seconds: float) -> None:
        """Sample for so many seconds."""
        until = self.at() + seconds
        while self.at() < until:
            self.sample()
            time.sleep(0.2)

    def await_all_led(self, seconds: float) -> bool:
        """Sample until all elections are led; False if they are not in time."""
        until = self.at() + seconds
        while self.sample() < self.crowd.elections:
            if self.at() > until:
                return False
            time.sleep(0.1)
        return True

    def finish(self) -> None:
        """Stop all candidates, and judge the run."""
        ended = self.at()
        for process in self.processes:
            process.send(signal.SIGTERM)
        codes = [process.wait(60 + 4 * self.crowd.ttl) for process in self.processes]
        if any(codes):
            self.outcome.faults.append(f"the processes have ended with {codes}")
        for meter in self.meters:
            meter.close()
        until = self.began + ended
        self.outcome.requests = self._per_second([m.requests_at for m in self.meters], until)
        self.outcome.connections = self._per_second([m.connections_at for m in self.meters], until)
        for observer in self._observers.values():
            observer.stop()
        self._judge(ended)

    def _per_second(self, counts: list[Counter[int]], until: float) -> list[int]:
        return per_second(counts, self.began, until) if counts else []

    def _judge(self, ended: float) -> None:
        outcome, terms = self.outcome, intervals_of(self.files)
        for number in range(self.crowd.elections):
            intervals = terms.get(number, [])
            outcome.terms += len(intervals)
            outcome.faults += [f"election {number}: {one}" for one in faults_of(intervals)]
            if number in self._observers:
                history = History()
                history.intervals += intervals
                run = Run(history, self._observers[number].readings)
                outcome.faults += [f"election {number}: {one}" for one in store_violations(run)]
        for step, following in zip(outcome.steps, [*outcome.steps[1:], None], strict=True):
            since = step.since if step.what.startswith("SIG") else step.until
            until = ended if following is None else following.since
            gaps = {
                number: longest_gap(terms.get(number, []), self.began + since, self.began + until)
                for number in range(self.crowd.elections)
            }
            step.longest = max(gaps.values())
            late = [number for number, gap in gaps.items() if gap > outcome.allowed]
            if late:
                outcome.faults.append(
                    f"{len(late)} elections had no leader within {outcome.allowed:g} s of: {step.what}"
                )


@contextmanager
def _loaded(
    crowd: Crowd, name: str, report: Callable[[str], None]
) -> Iterator[tuple[_RunningCrowd, CrowdOutcome]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crowd-")))
        store = stack.enter_context(running(crowd.kind, nodes=crowd.nodes))
        outcome = CrowdOutcome(crowd, name, store.recovery(crowd.ttl))
        made = _RunningCrowd(
            crowd=crowd, store=store, folder=folder, stack=stack, outcome=outcome, report=report
        )
        for number in range(crowd.processes):
            made.start(number)
        made.await_campaigning()
        began = made.at()
        led = made.await_all_led(at_most(30 + 0.2 * crowd.processes * crowd.candidates))
        assert led, f"only {outcome.leading[-1]} elections have a leader"
        report(f"{crowd.kind}: all elections are led after {made.at() - began:.1f} s")
        yield made, outcome
        made.finish()


def rolling_restart(
    crowd: Crowd, report: Callable[[str], None] = lambda line: None
) -> CrowdOutcome:
    """Replace all processes, one after the other; some are killed instead of stopped.

    Args:
        crowd: its size.
        report: called with a line about each step.
    """
    rng = random.Random(crowd.seed)
    with _loaded(crowd, "rolling restart", report) as (made, outcome):
        made.watch(5.0)
        killed = set(rng.sample(range(crowd.processes), crowd.processes // 3))
        for number in range(crowd.processes):
            process, since = made.processes[number], made.at()
            if number in killed:
                process.kill()
            else:
                process.send(signal.SIGTERM)
                code = process.wait(at_most(20 + crowd.ttl))
                if code:
                    outcome.faults.append(f"process {number} has ended with {code}")
            what = "SIGKILL" if number in killed else "SIGTERM"
            step = Step(f"{what} of process {number}", since, made.at())
            outcome.steps.append(step)
            made.start(number)
            if made.await_all_led(at_most(outcome.allowed + 5)):
                step.last = made.at() - step.until
            report(f"{crowd.kind}: {step.what}; all are led {step.last:.1f} s later")
            made.await_campaigning()
            made.watch(2.0)
    return outcome


def reconnect(
    crowd: Crowd, outage: str = "refused", report: Callable[[str], None] = lambda line: None
) -> CrowdOutcome:
    """Take the whole store away until all leases are over, and give it back to all at once.

    Args:
        crowd: its size.
        outage: one of `OUTAGES`; a file is locked instead.
        report: called with a line about each step.
    """
    with _loaded(crowd, f"outage, {outage}", report) as (made, outcome):
        made.watch(6.0)
        since = made.at()
        with _away(made, outage):
            made.watch(1.2 * made.store.recovery(crowd.ttl) - 5.0)
            led = outcome.leading[-1][1]
            if led:
                outcome.faults.append(f"{led} elections are led although the store is away")
        step = Step(f"all servers are {outage}", since, made.at())
        outcome.steps.append(step)
        if made.await_all_led(at_most(outcome.allowed + 10)):
            step.last = made.at() - step.until
        report(f"{crowd.kind}: after the outage all are led again in {step.last:.1f} s")
        made.watch(5.0)
    return outcome


@contextmanager
def _away(made: _RunningCrowd, outage: str) -> Iterator[None]:
    nodes = made.store.nodes
    if not nodes:
        database = sqlite3.connect(made.store.url.removeprefix("sqlite:///"), isolation_level=None)
        while True:
            try:
                database.execute("BEGIN EXCLUSIVE")
                break
            except sqlite3.OperationalError:
                continue  # another process has the lock
        yield
        database.execute("ROLLBACK")
        database.close()
    elif outage == "refused":
        for meter in made.meters:
            meter.refuse()
        yield
        for meter in made.meters:
            meter.listen()
    elif outage == "paused":
        for node in nodes:
            node.pause()
        yield
        for node in nodes:
            node.resume()
    else:
        for node in nodes:
            node.kill()
        yield
        for node in nodes:
            node.start(wait=False)
        for node in nodes:
            node.wait_ready(60.0)
