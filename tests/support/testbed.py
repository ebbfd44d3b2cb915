"""The testbed of one scenario: a store, candidates in processes of their own, and faults."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from tests.support.backends import TIMES, Times
from tests.support.fault_log import Fault, FaultLog
from tests.support.many_candidates import start_many_candidates
from tests.support.oracle import Run, history_of, violations
from tests.support.recording import now
from tests.support.servers.link import Link
from tests.support.servers.network_namespace import NetworkNamespace
from tests.support.servers.proxy import Proxy
from tests.support.servers.releases import kind_of
from tests.support.store_observer import StoreObserver
from tests.support.store_readers import open_reader
from tests.support.waiting import at_most
from tests.support.workers import Fleet, LeaderTerm, Worker

__all__ = ["Cluster", "HasPort", "Pair", "Testbed", "in_background"]


class HasPort(Protocol):
    """A server or proxy to connect to."""

    port: int


class Cluster(Protocol):
    """Three servers of any kind."""

    @property
    def nodes(self) -> list[Any]: ...
    @property
    def url(self) -> str: ...
    def leader(self) -> Any: ...
    def followers(self) -> list[Any]: ...


class Testbed:
    """One election, in one store, under the faults of a scenario.

    The store is the server that all tests share, unless the scenario asks for one of its own
    (`own_server`, `own_cluster`) before it asks for anything else.

    Attributes:
        kind: of the store, such as "etcd".
        release: the same, or the row of `tests.support.servers.releases` that it is, such as "etcd-3.4.23".
        key: of the election.
        fault_log: what was done to it.
        gap: seconds for which two may lead at a time, on an idle machine. Not 0 only where an operator
            has taken a claim away, of which its holder has to be notified.
        forgets: the store loses its data, so its tokens restart.
        began, ended, closed: when the first candidate was started, all that were left were asked
            to stop, and the scenario was over, in nanoseconds of the boot clock.
    """

    __test__ = False  # pytest takes its name for that of a test

    def __init__(self, kind: str, key: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self.kind, self.release = kind_of(kind), kind
        self.key, self.folder = key, folder
        self.fault_log = FaultLog()
        self.gap = 0.0
        self.forgets = False
        self.began: int | None = None
        self.ended: int | None = None
        self.closed: int | None = None
        self.times: Times = TIMES[kind]
        self._request = request
        self._stack = ExitStack()
        self._fleet: Fleet | None = None
        self._observer: StoreObserver | None = None
        self._server: Any = None
        self._cluster: Cluster | None = None
        self._url = ""
        self._finished = False

    # -- the store ----------------------------------------------------------------------------

    @property
    def ttl(self) -> float:
        """Seconds, of all candidates; to be set before the first of them starts."""
        return self.times.ttl

    @ttl.setter
    def ttl(self, seconds: float) -> None:
        assert self._fleet is None
        self.times = Times(seconds, self.times.leases, self.times.late)

    @property
    def recovery(self) -> float:
        """The longest time in seconds from the end of a fault to the next leader."""
        return self.times.leases * self.ttl + 5.0

    def own_server(self, **options: Any) -> Any:
        """Start a server for this scenario alone; it keeps its data while it is down."""
        assert self._server is None
        assert not self._url
        self._server = self._request.getfixturevalue(f"{self.kind}_server")(**options)
        return self._server

    def own_clock(self) -> Callable[[float], None]:
        """Start a server for this scenario alone; returns what sets its wall clock so many seconds ahead."""
        if self.kind == "postgres":
            return cast(Callable[[float], None], self.own_server(clock=True).set_clock)
        clock = self._request.getfixturevalue("fake_time")
        self.own_server(env=clock.env)
        return cast(Callable[[float], None], clock.set)

    def own_cluster(self, started: Cluster | None = None) -> Cluster:
        """Start, or take, three servers for this scenario alone; the URL names all of them."""
        assert self._server is None
        assert not self._url
        self._cluster = started or cast(
            Cluster, self._request.getfixturevalue(f"{self.kind}_cluster")
        )
        self._url = self._cluster.url
        return self._cluster

    @property
    def server(self) -> Any:
        """The single server; a store in a file has none."""
        if self._server is None:
            assert self._cluster is None
            assert self.kind != "sqlite"
            self._server = self._request.getfixturevalue("shared_server")(self.release)
        return self._server

    @property
    def url(self) -> str:
        """The URL of the store, without a link in between."""
        if not self._url:
            if self.kind == "sqlite":
                folder = self._request.getfixturevalue("quick_folder")
                self._url = f"sqlite:///{folder}/elections.db"
            else:
                self._url = self.server.url
        return self._url

    def link(self, to: HasPort | None = None, *, space: NetworkNamespace | None = None) -> Link:
        """A link to the server, or to one of a cluster, that can be cut and slowed down.

        Args:
            to: which server, or the proxy before it.
            space: where it begins, if not in the network of all others.
        """
        return self._stack.enter_context(Link((to or self.server).port, space=space))

    def network(self) -> NetworkNamespace | None:
        """A network namespace for a candidate; None where this process may not create one."""
        possible = NetworkNamespace.is_possible()
        return self._stack.enter_context(NetworkNamespace()) if possible else None

    def url_through(self, *links: Proxy) -> str:
        """The URL of the store through these links only."""
        server = self._cluster.nodes[0] if self._cluster is not None else self.server
        return cast(str, server.url_at(*(link.port for link in links)))

    # -- the candidates ---------------------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """All candidates; the store is observed from the first one on."""
        if self._fleet is None:
            self._fleet = Fleet(self.folder / "fleet", self.url, self.key, self.ttl)
            nodes = self._cluster.nodes if self._cluster else [self._server]
            self._observer = StoreObserver(open_reader(self.kind, self.url, nodes, self.key))
            self.began = now()
        return self._fleet

    def candidate(
        self, who: str, *links: Proxy, url: str = "", faulty: str = "", **options: Any
    ) -> Worker:
        """Start a candidate process, and wait until it campaigns.

        Args:
            who: its value.
            links: what lies between it and the store, if anything.
            url: its own one for the store, instead.
            faulty: a fault of `process_faults`, such as "pauses.hogs:3".
            options: of `Fleet.start`.
        """
        url = self.url_through(*links) if links else url
        if faulty:
            options["program"] = ("tests.support.faulty_worker", faulty)
        worker = self.fleet.start(who, url=url, **options)
        worker.await_event("campaigning", 15)
        return worker

    def start_many(self, who: str, count: int, *links: Proxy) -> list[Worker]:
        """Start one process with many candidates, which campaign when triggered."""
        url = self.url_through(*links) if links else self.url
        process, recordings = start_many_candidates(self.fleet, url, who, count)
        workers = self.fleet.join(process, recordings)
        workers[-1].await_remark("ready", 30)
        return workers

    def await_leader(
        self, seconds: float = 0.0, *, after: LeaderTerm | int | None = None
    ) -> LeaderTerm:
        """Wait for a leader, with a larger token than that of the given term.

        Args:
            seconds: to wait at most; as long as the recovery from a fault may take if not given.
            after: a reign, or the token of one.
        """
        return self.fleet.await_leader(seconds or self.recovery, after=after)

    def resign(self, leader: LeaderTerm) -> LeaderTerm:
        """Let the leader resign; return the next one."""
        leader.worker.signal(signal.SIGUSR1)
        return self.await_leader(after=leader)

    # -- faults --------------------------------------------------------------------------------

    @contextmanager
    def fault(self, what: str, *, heals: bool = True) -> Iterator[Fault]:
        """Record a fault for the duration of the block.

        Args:
            what: a few words for the time line.
            heals: there has to be a leader within `recovery` seconds after its end.
        """
        with self.fault_log.fault(what, heals=heals) as fault:
            yield fault

    @contextmanager
    def paused(self, *workers: Worker) -> Iterator[None]:
        """Pause these processes for the duration of the block."""
        with self.fault(f"SIGSTOP {' '.join(one.who for one in workers)}"):
            try:
                for one in workers:
                    one.process.pause()
                yield
            finally:
                for one in workers:
                    one.process.resume()

    def mark(self, what: str) -> int:
        """Record a fault that takes no time; returns its time."""
        return self.fault_log.mark(what)

    def sleep(self, leases: float) -> None:
        """Sleep for that many ttl of real time, because the clocks of the servers have to run."""
        time.sleep(leases * self.ttl)

    def undo(self, call: Callable[[], object]) -> None:
        """Call it at the end, however the scenario ends."""
        self._stack.callback(call)

    # -- the end ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Wait for a leader after the last fault, stop all candidates, and check the whole history.

        Every scenario ends with it.
        """
        self._finished = True
        if any(one.process.alive and not one.ending for one in self.fleet.workers):
            self.await_leader(self._left())
            assert self._observer is not None
            self._observer.await_reading(1.0)  # so that the store's word on the last one is known
        self.ended = now()
        complaints = []
        try:
            self.fleet.stop()
        except AssertionError as error:
            complaints.append(str(error))
        complaints += violations(self.run())
        assert not complaints, "\n".join([*complaints, self.fleet.describe()])

    def run(self) -> Run:
        """The recorded facts so far; ends the observation of the store."""
        workers = self._fleet.workers if self._fleet else []
        if self._observer is not None:
            self._observer.stop()
        return Run(
            history_of(
                [one.recording for one in workers],
                ended=[one.recording for one in workers if one.ending and not one.process.alive],
            ),
            readings=self._observer.readings if self._observer else [],
            faults=self.fault_log.faults,
            recovery=self.recovery,
            gap=at_most(self.gap) if self.gap else 0.0,
            forgets=self.forgets,
            ended=float("inf") if self.ended is None else self.ended / 1e9,
        )

    def close(self) -> None:
        """End all processes, servers and threads."""
        if self._observer is not None:
            self._observer.stop()
        if self._fleet is not None:
            self._fleet.kill()
        self._stack.close()

    def _left(self) -> float:
        """The seconds left for the next election after the last fault.

        It may have been long ago; but then a term may just have ended, as terms do.
        """
        ends = [one.until for one in self.fault_log.faults if one.until is not None]
        last = max([*ends, *(mark.at for mark in self.fault_log.marks)], default=now())
        return max(self.recovery - (now() - last) / 1e9, self.times.failover(self.ttl))


@dataclass(frozen=True)
class Pair:
    """A leader and a waiting candidate, with their links to the store.

    Attributes:
        leader: of the one that leads.
        link: of that one.
        other: the one that waits.
        other_link: of that one.
    """

    leader: LeaderTerm
    link: Link
    other: Worker
    other_link: Link

    @property
    def links(self) -> tuple[Link, Link]:
        """Both links."""
        return self.link, self.other_link

    @classmethod
    def of(cls, testbed: Testbed, *, to: HasPort | None = None) -> Pair:
        """Start both at the same time, and wait until one is leader and the other waits.

        Args:
            testbed: where.
            to: where their links lead, if not to the server.
        """
        links = [testbed.link(to), testbed.link(to)]
        workers = [
            testbed.fleet.start(who, url=testbed.url_through(link))
            for who, link in zip(("ann", "ben"), links, strict=True)
        ]
        for worker in workers:
            worker.await_event("campaigning", 15)
        leader = testbed.await_leader()
        leads = workers.index(leader.worker)
        time.sleep(0.3)  # so that the other one has entered, too
        return cls(leader, links[leads], workers[1 - leads], links[1 - leads])


@contextmanager
def in_background(work: threading.Thread, ended: threading.Event) -> Iterator[None]:
    """Run a thread for the duration of the block; setting the event ends it."""
    work.start()
    try:
        yield
    finally:
        ended.set()
        work.join(10)
