"""Ports for servers that are stopped and started again."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

__all__ = ["free_port"]

# Below the range that systems take the ports of outgoing connections from: a port of ours is
# not taken while its server is down, and no client that connects to it meets itself.
_RANGE = range(20000, 29000)

_held: list[IO[bytes]] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free, TCP and UDP, and no other test run's.

    It stays reserved for as long as this process lives, by a lock that ends with the process.
    """
    folder = Path(tempfile.gettempdir(), f"leadership-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for port in random.sample(_RANGE, 500):
        lock = (folder / str(port)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if _is_free(port):
            _held.append(lock)
            return port
        lock.close()
    raise RuntimeError("no free port found in 500 tries")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM)
            )
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
