"""What becomes of a store: it stalls, it loses its data, it gets old ones back."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.scenarios.fleet import Reign, await_true
from tests.scenarios.places import Running
from tests.servers.local import LocalServer

__all__ = [
    "await_serving",
    "believed_for",
    "bring_back_data",
    "database_of",
    "keep_data",
    "locked",
    "stall",
    "wipe",
]

_MYID = "myid"  # what a ZooKeeper is within its ensemble; not data


def wipe(server: LocalServer) -> None:
    """Delete all that it has stored; it must not be running."""
    for file in (server.folder / "data").rglob("*"):
        if file.is_file() and file.name != _MYID:
            file.unlink()


def keep_data(server: LocalServer) -> Path:
    """Make a copy of all that it has stored; it must not be running."""
    copy = server.folder / "old-data"
    shutil.copytree(server.folder / "data", copy)
    return copy


def bring_back_data(server: LocalServer, copy: Path) -> None:
    """Replace all that it has stored by what it had then; it must not be running."""
    shutil.rmtree(server.folder / "data")
    shutil.copytree(copy, server.folder / "data")


def stall(server: Running, seconds: float, *, then: float, times: int) -> None:
    """Let it stand still again and again, as one does that waits for its disk."""
    for _ in range(times):
        server.pause()
        try:
            time.sleep(seconds)
        finally:
            server.resume()
        time.sleep(then)


def await_serving(nodes: Iterable[LocalServer], seconds: float = 40.0) -> None:
    """Wait until each of them serves, writes included."""
    for node in nodes:
        await_true(f"{node.folder.name} serves", node.serves, seconds)


def believed_for(reign: Reign, since: int) -> float:
    """For how many seconds after that moment it went on believing; it must not any more."""
    beliefs = reign.worker.diary.read().beliefs
    belief = next(one for one in beliefs if one.token == reign.token)
    assert not belief.open, "it still believes"
    return (belief.until - since) / 1e9


# -- the store that is a file ---------------------------------------------------------------------


def database_of(url: str) -> Path:
    """The file of a store on sqlite."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold its write lock, as another program may; what is done by the connection is kept."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=5.0)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database
        database.execute("COMMIT")
