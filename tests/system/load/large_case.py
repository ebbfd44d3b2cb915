"""The largest case of docs/scale.md: ten thousand processes, simulated, beside the formulas."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from leadership_core.engine.backoff import max_backoff
from tests.system.load.simulated_process import SimulatedProcess
from tests.system.load.simulated_store import SimulatedStore, SimulatedTime

__all__ = ["Case", "Outcome", "formulas", "simulate"]


@dataclass(frozen=True)
class Case:
    """The size of a simulated run.

    Attributes:
        processes: how many; each has one session.
        elections: candidates in each process.
        rivals: candidates of each election, each in another process.
        ttl: seconds.
        capacity: requests that the servers answer in a second.
        start: seconds over which the processes are started.
        outage: when the store goes away, and when it is back, in seconds; each request is refused meanwhile.
        until: the end, in seconds.
        renewal_requests: how many requests a renewal is.
        seed: of all jitter.
    """

    processes: int = 10_000
    elections: int = 10
    rivals: int = 2
    ttl: float = 15.0
    capacity: float = inf
    start: float = 0.0
    outage: tuple[float, float] = (60.0, 90.0)
    until: float = 150.0
    renewal_requests: int = 1
    seed: int = 1


@dataclass
class Outcome:
    """What a simulated run has shown.

    Attributes:
        case: its size.
        demand: requests in each second, by their kind.
        led: how many candidates led at the beginning of each second.
        all_led: seconds from the first start until all elections were led; inf if they were not.
        all_led_again: the same, from the end of the outage.
        sessions: opened in all.
    """

    case: Case
    demand: dict[str, list[int]] = field(default_factory=dict)
    led: list[int] = field(default_factory=list)
    all_led: float = inf
    all_led_again: float = inf
    sessions: int = 0

    def total(self, since: int = 0, until: int | None = None) -> list[int]:
        """All requests of each second."""
        return [sum(each) for each in zip(*self.demand.values(), strict=True)][since:until]

    def most(self, since: float, until: float) -> int:
        """The largest number of requests in a second, between two times."""
        return max(self.total(int(since), int(until)), default=0)

    def mean(self, kind: str, since: float, until: float) -> float:
        """The mean number of requests of a kind in a second."""
        values = self.demand[kind][int(since) : int(until)]
        return sum(values) / max(1, len(values))


def simulate(case: Case, report: Callable[[str], None] = lambda line: None) -> Outcome:
    """Run the simulation, which takes about a minute for the largest case.

    Args:
        case: its size.
        report: called with a line for each ten seconds.
    """
    time, rng = SimulatedTime(), random.Random(case.seed)
    store = SimulatedStore(time, capacity=case.capacity)
    processes = [
        SimulatedProcess(
            *(time, store),
            # Neighbouring processes are rivals in all of their elections, as replicas are.
            [number // case.rivals * case.elections + place for place in range(case.elections)],
            case.ttl,
            rng,
            renewal_requests=case.renewal_requests,
        )
        for number in range(case.processes)
    ]
    for number, process in enumerate(processes):
        time.call_at(case.start * number / case.processes, process.start)

    def away() -> None:
        store.away = True

    def back() -> None:
        store.away = False

    time.call_at(case.outage[0], away)
    time.call_at(case.outage[1], back)
    outcome = Outcome(case)
    elections = len({one.election for process in processes for one in process.candidates})
    gc.disable()  # millions of objects that live to the end
    for second in range(int(case.until)):
        led = sum(process.leading for process in processes)
        outcome.led.append(led)
        if led >= elections:
            if second < case.outage[0]:
                outcome.all_led = min(outcome.all_led, second)
            elif second > case.outage[1]:
                outcome.all_led_again = min(outcome.all_led_again, second - case.outage[1])
        if second % 10 == 0:
            report(f"{second} s: {led} of {elections} elections are led")
        time.run(second + 1.0)
    gc.enable()
    outcome.demand = {
        kind: [counts[second] for second in range(int(case.until))]
        for kind, counts in store.demand.items()
    }
    outcome.sessions = sum(process.sessions for process in processes)
    return outcome


def formulas(case: Case) -> dict[str, float]:
    """The figures of a case as docs/scale.md computes them.

    Returns:
        renewals: requests a second while nothing happens.
        start: requests of the start in all: a session, its first renewal, and for each candidate
            a claim and its status.
        tries: attempts to open a session in a second, during an outage.
        reconnect: requests in the first second after it, on servers without a limit.
        queue: seconds that a request waits behind all others at the worst.
    """
    each = 1 + case.renewal_requests + 2 * case.elections
    cap = max_backoff(case.ttl)
    return {
        "renewals": case.processes * case.renewal_requests / (0.3 * case.ttl),
        "start": float(case.processes * each),
        "tries": case.processes / (cap / 2),
        "reconnect": case.processes * each * (1 - (1 - 1 / cap) ** 2),
        "queue": case.processes * (4 + case.renewal_requests) / case.capacity,
    }
