"""Helpers of the ZooKeeper store's tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from leadership_zookeeper.kv import Target
from leadership_zookeeper.nodes import KeyValue

__all__ = ["TTL", "after_first_read", "kazoo", "open_sockets", "our_threads"]

TTL = 4.0


@contextmanager
def kazoo(port: int, timeout: float = 8.0, **options: Any) -> Iterator[KazooClient]:
    """A client of another program."""
    client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=timeout, **options)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def our_threads() -> list[str]:
    """The names of the threads of this store."""
    prefix = "leadership-zookeeper"
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def open_sockets() -> int:
    """How many sockets this process has."""
    return sum(map(_is_socket, list(Path("/proc/self/fd").iterdir())))


def _is_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except OSError:
        return False  # closed in the meantime


def after_first_read(monkeypatch: pytest.MonkeyPatch, action: Callable[[KeyValue], object]) -> None:
    """Run an action of another client right after a write has read its node for the first time."""
    read, done = Target.read, list[bool]()

    def read_and_act(target: Target) -> KeyValue | None:
        found = read(target)
        if found is not None and not done:
            done.append(True)
            action(found)
        return found

    monkeypatch.setattr(Target, "read", read_and_act)
