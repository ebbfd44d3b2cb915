"""One run of increments under faults: `python -m tests.system.updates --help`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

from tests.support.backends import LEAST, TIMES, TargetStore
from tests.support.servers.consul import ConsulAgent
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.kubernetes import KubernetesServer
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.provision import Server as Provided, locate
from tests.support.servers.proxy import Proxy
from tests.support.servers.redis import RedisServer
from tests.support.servers.releases import kind_of
from tests.support.servers.zookeeper import ZooKeeperServer
from tests.system.counters import GUARDS
from tests.system.increments import IncrementFleet, Link, Nemesis
from tests.system.lost_updates import Summary, summarize, violations

__all__ = ["MEMBERS", "STORES", "Outcome", "Server", "linked", "run", "served"]


MEMBERS = 3


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    summary: Summary
    problems: list[str]
    actions: Counter[str]

    def __str__(self) -> str:
        actions = ", ".join(f"{count} {action}" for action, count in sorted(self.actions.items()))
        return f"{self.summary}; {actions}"


def run(
    target: TargetStore,
    guard: str,
    seed: int,
    seconds: float,
    folder: Path,
    links: Sequence[Link | None] = (None,) * MEMBERS,
) -> Outcome:
    """Increment one counter in several processes, under faults from a seed.

    Args:
        target: the store.
        guard: `unfenced` or `fence`.
        seed: see `Nemesis`.
        seconds: how long things are done to them.
        folder: for the recordings, which stay there.
        links: the ways of the processes to the store, which are then cut and reset, too.
    """
    fleet = IncrementFleet(
        folder, target.url, f"updates/{folder.name}-{guard}-{seed}", guard, target.ttl
    )
    try:
        for link in links:
            fleet.start(link)
        fleet.await_ready()
        nemesis = Nemesis(fleet, target.times, seed)
        nemesis.run(seconds)
        fleet.stop()
    finally:
        fleet.kill()
    attempts, final = fleet.attempts(), fleet.final()
    return Outcome(summarize(attempts, final), violations(attempts, final), nemesis.actions)


STORES = tuple(TIMES)
"""All of them. On sqlite and on `LEAST` elections are the core's."""

_FILES = {"sqlite", LEAST}


class Server(Protocol):
    """A server that the run has started."""

    port: int

    @property
    def url(self) -> str: ...
    def url_at(self, port: int, /) -> str: ...
    def start(self) -> None: ...
    def remove(self) -> None: ...


_SERVERS: dict[str, Callable[[Provided, Path], Server]] = {
    "consul": lambda server, folder: ConsulAgent(server, folder, dev=True),
    "etcd": EtcdServer,
    "zookeeper": ZooKeeperServer,
    "postgres": PostgresServer,
    "redis": RedisServer,
    "kubernetes": lambda server, folder: KubernetesServer(server, locate("etcd"), folder),
}


@contextmanager
def served(kind: str, folder: Path) -> Iterator[tuple[TargetStore, Server | None]]:
    """Start a store of that kind with its data in a folder; yields its server, if it has one."""
    if kind in _FILES:
        yield TargetStore(f"{kind}:///{folder}/elections.db", TIMES[kind]), None
        return
    server = _SERVERS[kind_of(kind)](locate(kind), folder / kind)
    try:
        server.start()
        yield TargetStore(server.url, TIMES[kind]), server
    finally:
        server.remove()


@contextmanager
def linked(server: Server | None, count: int) -> Iterator[list[Link | None]]:
    """Put that many proxies before a server; a store without a server has no links."""
    if server is None:
        yield [None] * count
        return
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(server.port)) for _ in range(count)]
        yield [Link(server.url_at(proxy.port), proxy) for proxy in proxies]


def main() -> int:
    """Run the command line; returns 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.updates")
    parser.add_argument("--store", choices=[*STORES, "all"], default="all")
    parser.add_argument("--guard", choices=[*GUARDS, "both"], default="both")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--links", action="store_true", help="cut and reset connections, too")
    args = parser.parse_args()
    wrong = 0
    for kind in STORES if args.store == "all" else [args.store]:
        for guard in GUARDS if args.guard == "both" else [args.guard]:
            wrong += not _run(kind, guard, args.seed, args.seconds, links=args.links)
    return bool(wrong)


def _run(kind: str, guard: str, seed: int, seconds: float, *, links: bool) -> bool:
    """Make one run, and print whether it was correct; the recordings of an incorrect one are kept."""
    memory = Path("/dev/shm")  # the disk of a virtual machine may take seconds over a commit
    folder = Path(mkdtemp(prefix="updates-", dir=memory if memory.is_dir() else None))
    begun = time.monotonic()
    with (
        served(kind, folder) as (target, server),
        linked(server if links else None, MEMBERS) as ways,
    ):
        outcome = run(target, guard, seed, seconds, folder, ways)
    took = time.monotonic() - begun
    print(f"{kind} {guard} seed {seed}, {took:.0f} s: {outcome}", flush=True)
    summary = outcome.summary
    as_expected = summary.lost > 0
    if guard == "fence":
        as_expected = not outcome.problems and summary.stale > 0
        print("\n".join(outcome.problems[:20]), end="\n" if outcome.problems else "")
    if as_expected:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"not as it should be; the recordings are in {folder}")
    return as_expected


if __name__ == "__main__":
    sys.exit(main())
