"""Where one scenario takes place: a store, candidates in processes of their own, and faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from tests.faults.chronicle import Chronicle, Fault
from tests.faults.crowd import start_crowd
from tests.faults.eyes import open_eye
from tests.faults.verdict import Run, judge
from tests.faults.witness import Witness
from tests.scenarios.diary import now
from tests.scenarios.fleet import Fleet, Reign, Worker
from tests.scenarios.places import TIMES, Times
from tests.scenarios.sweep import history_of
from tests.servers.link import Link
from tests.servers.network_space import NetworkSpace
from tests.servers.proxy import Proxy
from tests.servers.releases import kind_of

__all__ = ["Cluster", "HasPort", "Stand"]


class HasPort(Protocol):
    """What can be connected to."""

    port: int


class Cluster(Protocol):
    """Three servers, of whatever kind."""

    @property
    def nodes(self) -> list[Any]: ...
    @property
    def url(self) -> str: ...
    def leader(self) -> Any: ...
    def followers(self) -> list[Any]: ...


class Stand:
    """One election, in one store, under whatever a scenario does to it.

    The store is the server that all tests share, unless the scenario asks for one of its own
    (`own_server`, `own_cluster`) before it asks for anything else.

    Attributes:
        kind: of the store, such as "etcd".
        release: the same, or the row of `tests.servers.releases` that it is, such as "etcd-3.4.23".
        key: of the election.
        chronicle: what was done to it.
        gap: seconds for which two may believe at a time. Not 0 only where a claim was taken away
            by hand, which its holder has to be told.
        forgets: the store loses its data, so its tokens begin anew.
        began, ended, closed: when the first candidate was started, all that were left were told
            to stop, and the scenario was over, in nanoseconds of the boot clock.
    """

    def __init__(self, kind: str, key: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self.kind, self.release = kind_of(kind), kind
        self.key, self.folder = key, folder
        self.chronicle = Chronicle()
        self.gap = 0.0
        self.forgets = False
        self.began: int | None = None
        self.ended: int | None = None
        self.closed: int | None = None
        self.times: Times = TIMES[kind]
        self._request = request
        self._stack = ExitStack()
        self._fleet: Fleet | None = None
        self._witness: Witness | None = None
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
        """Seconds after the end of a fault within which somebody has to lead."""
        return self.times.leases * self.ttl + 5.0

    def own_server(self, **options: Any) -> Any:
        """Start a server for this scenario alone; it keeps its data while it is down."""
        assert self._server is None
        assert not self._url
        self._server = self._request.getfixturevalue(f"{self.kind}_server")(**options)
        return self._server

    def own_cluster(self, started: Cluster | None = None) -> Cluster:
        """Start three servers for this scenario alone, or take these; the URL names them all."""
        assert self._server is None
        assert not self._url
        self._cluster = started or cast(
            Cluster, self._request.getfixturevalue(f"{self.kind}_cluster")
        )
        self._url = self._cluster.url
        return self._cluster

    @property
    def server(self) -> Any:
        """The single server, whatever it is; there is none where the store is a file."""
        if self._server is None:
            assert self._cluster is None
            assert self.kind != "sqlite"
            self._server = self._request.getfixturevalue("shared_server")(self.release)
        return self._server

    @property
    def url(self) -> str:
        """Of the store, without anything in between."""
        if not self._url:
            if self.kind == "sqlite":
                folder = self._request.getfixturevalue("quick_folder")
                self._url = f"sqlite:///{folder}/elections.db"
            else:
                self._url = self.server.url
        return self._url

    def link(self, to: HasPort | None = None, *, space: NetworkSpace | None = None) -> Link:
        """A link to the server, or to one of a cluster, that can be cut and slowed down.

        Args:
            to: which server, or what stands before it.
            space: where it begins, if not in the network of all others.
        """
        return self._stack.enter_context(Link((to or self.server).port, space=space))

    def network(self) -> NetworkSpace | None:
        """A network of its own for a candidate; None where this process may not make one."""
        possible = NetworkSpace.is_possible()
        return self._stack.enter_context(NetworkSpace()) if possible else None

    def url_through(self, *links: Proxy) -> str:
        """The URL of the store that leads through these links only."""
        server = self._cluster.nodes[0] if self._cluster is not None else self.server
        return cast(str, server.url_at(*(link.port for link in links)))

    # -- who stands ---------------------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """All candidates; from the first one on, the store is watched."""
        if self._fleet is None:
            self._fleet = Fleet(self.folder / "fleet", self.url, self.key, self.ttl)
            nodes = self._cluster.nodes if self._cluster else [self._server]
            self._witness = Witness(open_eye(self.kind, self.url, nodes, self.key))
            self.began = now()
        return self._fleet

    def candidate(
        self, who: str, *links: Proxy, url: str = "", odd: str = "", **options: Any
    ) -> Worker:
        """Start one in a process of its own, and wait until it campaigns.

        Args:
            who: its value.
            links: what lies between it and the store, if anything.
            url: its own one for the store, instead.
            odd: what is odd about it, of `oddities`, such as "pauses.hogs:3".
            options: of `Fleet.start`.
        """
        url = self.url_through(*links) if links else url
        if odd:
            options["program"] = ("tests.faults.odd_worker", odd)
        worker = self.fleet.start(who, url=url, **options)
        worker.await_event("campaigning", 15)
        return worker

    def crowd(self, who: str, count: int, *links: Proxy) -> list[Worker]:
        """Start one process with many candidates, who stand when one of them gets its cue."""
        url = self.url_through(*links) if links else self.url
        process, diaries = start_crowd(self.fleet, url, who, count)
        workers = self.fleet.join(process, diaries)
        workers[-1].await_remark("ready", 30)
        return workers

    def leader(self, seconds: float = 0.0, *, after: Reign | int | None = None) -> Reign:
        """Wait until somebody leads, for a newer term than that one if given.

        Args:
            seconds: to wait at most; as long as the recovery from a fault may take if not given.
            after: a reign, or the token of one.
        """
        return self.fleet.await_reign(seconds or self.recovery, after=after)

    # -- what goes wrong ------------------------------------------------------------------------

    @contextmanager
    def fault(self, what: str, *, heals: bool = True) -> Iterator[Fault]:
        """While this lasts, something is wrong.

        Args:
            what: a few words for the time line.
            heals: somebody has to lead within `recovery` seconds after its end.
        """
        with self.chronicle.fault(what, heals=heals) as fault:
            yield fault

    @contextmanager
    def paused(self, *workers: Worker) -> Iterator[None]:
        """While this lasts, these processes stand still."""
        with self.fault(f"SIGSTOP {' '.join(one.who for one in workers)}"):
            try:
                for one in workers:
                    one.process.pause()
                yield
            finally:
                for one in workers:
                    one.process.resume()

    def mark(self, what: str) -> int:
        """Something has just been done that takes no time; returns when."""
        return self.chronicle.mark(what)

    def sleep(self, leases: float) -> None:
        """Let that many ttl of real time pass: there are servers whose clocks have to run."""
        time.sleep(leases * self.ttl)

    def undo(self, call: Callable[[], object]) -> None:
        """Have it done at the end, however the scenario ends."""
        self._stack.callback(call)

    # -- the end ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Wait for a leader after the last fault, stop all in order, and judge the whole history.

        Every scenario ends with it.
        """
        self._finished = True
        if any(one.process.alive and not one.ending for one in self.fleet.workers):
            self.leader(self._left())
            assert self._witness is not None
            self._witness.await_look(1.0)  # so that the store's word on the last one is known
        self.ended = now()
        complaints = []
        try:
            self.fleet.stop()
        except AssertionError as error:
            complaints.append(str(error))
        complaints += judge(self.run())
        assert not complaints, "\n".join([*complaints, self.fleet.told()])

    def run(self) -> Run:
        """All that is known about what has happened so far; the store is watched no longer."""
        workers = self._fleet.workers if self._fleet else []
        if self._witness is not None:
            self._witness.stop()
        return Run(
            history_of(
                [one.diary for one in workers],
                ended=[one.diary for one in workers if one.ending and not one.process.alive],
            ),
            looks=self._witness.looks if self._witness else [],
            faults=self.chronicle.faults,
            recovery=self.recovery,
            gap=self.gap,
            forgets=self.forgets,
            ended=float("inf") if self.ended is None else self.ended / 1e9,
        )

    def close(self) -> None:
        """End everything that runs."""
        if self._witness is not None:
            self._witness.stop()
        if self._fleet is not None:
            self._fleet.kill()
        self._stack.close()

    def _left(self) -> float:
        """Seconds that are left for somebody to lead after what happened last.

        It may have been long ago; but then a term may just have ended, as terms do.
        """
        ends = [one.until for one in self.chronicle.faults if one.until is not None]
        last = max([*ends, *(mark.at for mark in self.chronicle.marks)], default=now())
        return max(self.recovery - (now() - last) / 1e9, self.times.failover(self.ttl))
