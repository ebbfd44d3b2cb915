"""Random faults of servers and clients while histories are recorded."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.system.linearizability.processes import Processes
from tests.system.linearizability.records import now
from tests.system.linearizability.stages import Stage, leader_of

__all__ = ["Nemesis"]

_ELECTION = 10.0  # seconds for other servers to elect a leader


class Nemesis:
    """Injects random faults; the same seed gives the same faults in the same order.

    Args:
        stage: the store.
        processes: that use it.
        seed: of what is done, and of the times in between.

    Attributes:
        actions: how often each was done.
        resumed: the times at which stopped servers continued, on `now`.
    """

    def __init__(self, stage: Stage, processes: Processes, seed: int) -> None:
        self.actions: Counter[str] = Counter()
        self.resumed: list[int] = []
        self._stage, self._processes = stage, processes
        self._rng = random.Random(seed)

    def run(self, seconds: float) -> None:
        """Inject faults for that long; the first is the worst, a stopped leader of the servers."""
        until = time.monotonic() + seconds
        actions: list[Callable[[], None]] = [self._stop_a_client, self._kill_a_client]
        if self._stage.cluster is not None:
            actions += [self._stop_the_leader, self._stop_a_server, self._kill_a_server]
            actions += [self._cut_off_the_leader, self._cut_a_link, self._reset_links]
            self._stop_the_leader()
        while time.monotonic() < until:
            time.sleep(self._rng.uniform(0.2, 1.0))
            self._rng.choice(actions)()

    # -- clients -----------------------------------------------------------------------------

    def _stop_a_client(self) -> None:
        process = self._rng.choice(self._processes.running)
        process.pause()
        time.sleep(self._rng.choice([0.1, 0.5, 1.3]) * self._stage.times.pause)
        process.resume()
        self.actions["stopped a client"] += 1

    def _kill_a_client(self) -> None:
        self._processes.replace(self._rng.randrange(len(self._processes.running)))
        self.actions["killed a client"] += 1

    def _cut_a_link(self) -> None:
        proxies = self._some_proxies()
        way = self._rng.choice([("up",), ("down",), ("up", "down")])
        for one in proxies:
            one.cut(*way)
        time.sleep(self._rng.uniform(0.2, 2.0))
        for one in proxies:
            one.heal()
        self.actions["cut a link"] += 1

    def _reset_links(self) -> None:
        for _ in range(self._rng.choice([1, 4])):
            for one in self._some_proxies():
                one.reset()
            time.sleep(self._rng.uniform(0.0, 0.1))
        self.actions["reset links"] += 1

    def _some_proxies(self) -> Any:
        return self._rng.choice(self._stage.ways)[1]

    # -- servers -----------------------------------------------------------------------------

    def _stop_the_leader(self) -> None:
        """Stop it until another is elected, so that it resumes with an old state and as leader."""
        cluster = self._stage.cluster
        assert cluster is not None
        leader = leader_of(cluster)
        if leader is None:
            return
        leader.process.pause()
        try:
            until = time.monotonic() + _ELECTION
            while (found := self._other_leader(leader)) is None and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(self._rng.uniform(0.2, 1.0))  # others write meanwhile
        finally:
            self._resume(leader.process)
        self.actions["stopped the leader" + ("" if found else " in vain")] += 1

    def _other_leader(self, stopped: Any) -> Any:
        cluster = self._stage.cluster
        assert cluster is not None
        nodes = cluster.nodes
        cluster.nodes = [one for one in nodes if one is not stopped]
        try:
            return leader_of(cluster)
        finally:
            cluster.nodes = nodes

    def _stop_a_server(self) -> None:
        process = self._server().process
        process.pause()
        time.sleep(self._rng.uniform(0.2, 3.0))
        self._resume(process)
        self.actions["stopped a server"] += 1

    def _kill_a_server(self) -> None:
        server = self._server()
        server.process.kill()
        time.sleep(self._rng.uniform(0.0, 1.0))
        server.start(wait=False)
        time.sleep(1.0)
        self.actions["killed a server"] += 1

    def _cut_off_the_leader(self) -> None:
        cluster = self._stage.cluster
        assert cluster is not None
        leader = leader_of(cluster)
        if leader is None:
            return
        cluster.cut_off(leader)
        time.sleep(self._rng.uniform(1.0, 4.0))
        cluster.heal()
        self.actions["cut off the leader"] += 1

    def _resume(self, server: Any) -> None:
        self.resumed.append(now())
        server.resume()

    def _server(self) -> Any:
        assert self._stage.cluster is not None
        return self._rng.choice(self._stage.cluster.nodes)
