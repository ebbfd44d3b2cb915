"""Measurement of what candidates, elections, hand-overs and followers cost, on one server of each kind."""

from __future__ import annotations

import http.client
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.servers.process import Process
from tests.system.load.meter import Meter
from tests.system.load.recording import campaigning_in, handovers_of, leading_in
from tests.system.load.soak import worker
from tests.system.load.stores import LoadedStore, running
from tests.system.load.usage import usage_of

__all__ = ["TTL", "measure"]

TTL = 6.0
"""Seconds, of all candidates here; a renewal is sent every 0.3 ttl on average."""

_MANY = 1000  # elections, for what one of them costs
_SOME = 20  # elections that hand over
_SESSIONS = 20  # for what one costs


@dataclass(frozen=True)
class _Count:
    """Counts until one moment.

    Attributes:
        at: seconds.
        requests, bytes, pieces: that have passed the proxy; a piece is one write of a client.
        writes: that the server has applied.
        server_cpu: seconds.
        client_cpu: seconds, of all processes of candidates.
        memory: bytes, of the last of them.
    """

    at: float
    requests: float
    bytes: float
    pieces: float
    writes: float
    server_cpu: float
    client_cpu: float
    memory: float

    def since(self, before: _Count) -> _Count:
        """What was counted in between; the memory as its growth."""
        values = {name: getattr(self, name) - getattr(before, name) for name in _NAMES}
        return _Count(**values)

    def less(self, rate: _Count) -> _Count:
        """These counts without those of an idle time: `rate` was counted in `rate.at` seconds."""
        share = self.at / rate.at
        values = {name: getattr(self, name) - share * getattr(rate, name) for name in _NAMES}
        return _Count(**values | {"at": self.at, "memory": self.memory})

    def plus(self, other: _Count, share: float) -> _Count:
        """What is counted in the same time if a share of `other` is added."""
        part = share * self.at / other.at
        values = {name: getattr(self, name) + part * getattr(other, name) for name in _NAMES}
        return _Count(**values | {"at": self.at})

    def per(self, number: float) -> dict[str, float]:
        """The mean for each of so many; processor time in milliseconds, memory in KiB."""
        return {
            "requests": round(self.requests / number, 3),
            "bytes": round(self.bytes / number, 1),
            "pieces": round(self.pieces / number, 2),
            "writes": round(self.writes / number, 2),
            "server_ms": round(1e3 * self.server_cpu / number, 3),
            "client_ms": round(1e3 * self.client_cpu / number, 3),
            "memory_kib": round(self.memory / number / 1024, 2),
        }


_NAMES = ("at", "requests", "bytes", "pieces", "writes", "server_cpu", "client_cpu", "memory")


class _Bench:
    """One store with a meter, and the processes on it."""

    def __init__(self, store: LoadedStore, stack: ExitStack, seconds: float) -> None:
        self.store, self.seconds, self._stack = store, seconds, stack
        self._meters = [stack.enter_context(Meter(node.port)) for node in store.nodes]
        self._url = store.url_through([meter.port for meter in self._meters])
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="constants-")))
        self._running: list[tuple[Process, Path]] = []
        self._started = 0

    def start(self, prefix: str, elections: int, *, led: bool = True, **options: Any) -> None:
        """Start a process of candidates; returns when they lead, or have entered."""
        self._started += 1
        file = self._folder / f"{self._started}.recording"
        poll = 0.02 if "term" in options else 1.0  # which costs as much as a quiet candidate
        asked = self._asked()
        made = worker(self._url, file, prefix, elections=elections, ttl=TTL, poll=poll, **options)
        process = self._stack.enter_context(made)
        self._running.append((process, file))

        def done() -> bool:
            if led or "followers" in options:
                return leading_in(file) >= elections
            entered = not self._meters or self._asked() >= asked + elections
            return entered and campaigning_in(file)

        deadline = time.monotonic() + 120
        while not done():
            assert time.monotonic() < deadline, process.tail()
            assert process.alive, process.tail()
            time.sleep(0.1)
        if not (led or self._meters):
            time.sleep(5.0)

    def stop(self) -> None:
        """End all processes."""
        for process, _ in self._running:
            process.send(signal.SIGTERM)
        for process, _ in self._running:
            process.wait(60)
        self._running.clear()

    def handovers(self) -> int:
        return sum(handovers_of(file) for _, file in self._running)

    def count(self) -> _Count:
        usages = [usage_of(process.pid) for process, _ in self._running]
        servers = [usage_of(pid) for pid in self.store.pids()]
        return _Count(
            at=time.monotonic(),
            requests=self._asked(),
            bytes=sum(meter.sent + meter.received for meter in self._meters),
            pieces=sum(meter.pieces for meter in self._meters),
            writes=_writes(self.store),
            server_cpu=sum(one.cpu for one in servers if one),
            client_cpu=sum(one.cpu for one in usages if one),
            memory=usages[-1].memory if usages and usages[-1] else 0,
        )

    def during(self, seconds: float = 0.0) -> _Count:
        """Count for some seconds."""
        before = self.count()
        time.sleep(seconds or self.seconds)
        return self.count().since(before)

    def _asked(self) -> int:
        return sum(meter.asked for meter in self._meters)

    def settle(self) -> None:
        """Wait until the processes send hardly any requests."""
        before, deadline = -100, time.monotonic() + 60
        while time.monotonic() < deadline and (asked := self._asked()) > before + 20:
            before = asked
            time.sleep(1.0)
        time.sleep(1.0)


def measure(
    kind: str, *, seconds: float = 18.0, report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure one store, which takes about two minutes.

    Args:
        kind: of the store.
        seconds: of each part.
        report: called with a line about each part.

    Returns:
        requests, bytes, pieces, writes, server_ms, client_ms and memory_kib: for one renewal of a
        session ("renewal"), for a candidate until it leads ("elected") or waits ("waiting"), for a
        follower until it knows the leader ("follower"), for ten seconds of each afterwards
        ("elected_in_10_s" ...), and for one hand-over ("handover"). "session_kib" is the memory of an
        open store with one candidate.
    """
    with ExitStack() as stack:
        store = stack.enter_context(running(kind, nodes=1))
        bench = _Bench(store, stack, seconds)
        found: dict[str, Any] = {}

        def note(name: str, values: dict[str, float]) -> None:
            found[name] = values
            report(f"{kind}: {name}: {values}")

        idle = bench.during(seconds / 2)
        bench.start("load/one", 1)
        small = bench.count().memory
        bench.stop()
        bench.start("load/one", _SESSIONS, on_one_store=1)
        bench.settle()
        busy = bench.during()
        renewals = _SESSIONS * busy.at / (0.3 * TTL)
        note("renewal", busy.less(idle).per(renewals))
        memory = (bench.count().memory - small) / (_SESSIONS - 1)
        found["session_kib"] = round(memory / 1024)
        bench.stop()
        alone = idle.plus(busy.less(idle), 1 / _SESSIONS)

        before = bench.count()
        bench.start("load/all", _MANY)
        elected = bench.count().since(before)
        note("elected", replace(elected, memory=elected.memory - small).per(_MANY))
        bench.settle()
        note("elected_in_10_s", bench.during().less(alone).per(_MANY * seconds / 10))

        before = bench.count()
        bench.start("load/all", _MANY, led=False)
        bench.settle()
        time.sleep(2.0)
        waiting = bench.count().since(before)
        note("waiting", replace(waiting, memory=bench.count().memory - small).per(_MANY))
        note("waiting_in_10_s", bench.during().less(alone).per(2 * _MANY * seconds / 10))
        bench.stop()

        bench.start("load/all", _MANY)
        before = bench.count()
        bench.start("load/all", _MANY, led=False, followers="")
        bench.settle()
        time.sleep(2.0)
        follower = bench.count().since(before)
        note("follower", replace(follower, memory=bench.count().memory - small).per(_MANY))
        # Two periods of the reads that confirm what the watch has reported.
        note("follower_in_10_s", bench.during(30.0).less(alone).per(3 * _MANY))
        bench.stop()

        for _ in range(2):
            bench.start("load/some", _SOME, led=False, term=1.0)
        time.sleep(5.0)
        first = bench.handovers()
        spent = bench.during()
        handovers = bench.handovers() - first
        note("handover", spent.less(alone).less(alone).per(max(1, handovers)))
        bench.stop()
        return found


def _writes(store: LoadedStore) -> float:
    """How many writes the server has applied so far."""
    if not store.nodes:
        return 0.0  # a transaction leaves no count behind
    node = store.nodes[0]
    if store.kind == "zookeeper":
        for _ in range(10):  # a busy server does not always answer in time
            with suppress(AssertionError):
                return float(node.zxid() & 0xFFFFFFFF)
    if store.kind == "postgres":  # the number of the next transaction that writes
        (row,) = node.ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return float(str(row[0]))
    if store.kind == "redis":  # changes of keys
        return float(node.info("rdb_changes_since_last_save"))
    if store.kind == "consul":
        return float(node.request("GET", "/v1/agent/self").body["Stats"]["raft"]["applied_index"])
    connection = http.client.HTTPConnection(node.host, node.port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    name = "etcd_server_proposals_applied_total "
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])
