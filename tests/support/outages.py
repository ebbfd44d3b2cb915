"""Outages of a store: stalls, lost data, and restored backups."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.backends import Running
from tests.support.servers.local import LocalServer
from tests.support.servers.postgres import PostgresServer
from tests.support.waiting import wait_until
from tests.support.workers import LeaderTerm

__all__ = [
    "await_serving",
    "bring_back_data",
    "database_of",
    "keep_data",
    "led_for",
    "locked",
    "stall",
    "url_of",
    "wipe",
]

_MYID = "myid"  # what a ZooKeeper is within its ensemble; not data


def wipe(server: LocalServer) -> None:
    """Delete the data of a server that is not running."""
    if isinstance(server, PostgresServer):
        server.make_empty()
        return
    for file in _data_of(server).rglob("*"):
        if file.is_file() and file.name != _MYID:
            file.unlink()


def keep_data(server: LocalServer) -> Path:
    """Copy the data of a server that is not running."""
    copy = server.folder / "old-data"
    _copy(_data_of(server), copy)
    return copy


def bring_back_data(server: LocalServer, copy: Path) -> None:
    """Restore that copy to a server that is not running."""
    shutil.rmtree(_data_of(server))
    _copy(copy, _data_of(server))


def _data_of(server: LocalServer) -> Path:
    return server.data if isinstance(server, PostgresServer) else server.folder / "data"


def _copy(data: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", data, to], check=True)  # with the owners, which copytree changes


def stall(server: Running, seconds: float, *, then: float, times: int) -> None:
    """Pause the server again and again, as if it waited for its disk."""
    for _ in range(times):
        server.pause()
        try:
            time.sleep(seconds)
        finally:
            server.resume()
        time.sleep(then)


def await_serving(nodes: Iterable[LocalServer], seconds: float = 40.0) -> None:
    """Wait until each server accepts writes."""
    for node in nodes:
        wait_until(node.serves, seconds, f"{node.folder.name} serves")


def led_for(leader: LeaderTerm, since: int) -> float:
    """Return the seconds from that moment to the end of the term, which must be over."""
    intervals = leader.worker.recording.read().intervals
    interval = next(one for one in intervals if one.token == leader.token)
    assert not interval.open, "it still leads"
    return (interval.until - since) / 1e9


# -- the store that is a file ---------------------------------------------------------------------


def database_of(url: str) -> Path:
    """The path of an SQLite store's database."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold the database's write lock, as another program may; changes made in it are committed."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=5.0)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database
        database.execute("COMMIT")


def url_of(*nodes: Any) -> str:
    """The URL with the nodes of a cluster in this order; a client begins with the first."""
    return str(nodes[0].url_at(*(node.port for node in nodes)))
