"""TCP connections of this machine, and the processes they belong to."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["connections_to", "owner_of"]


def connections_to(port: int) -> int:
    """Return how many connections to a port of 127.0.0.1 are open at the client's end."""
    established = re.compile(rf"^ *\d+: \w+:\w+ \w+:{port:04X} 01 ", re.MULTILINE)
    tables = (Path(f"/proc/self/net/{name}").read_text() for name in ("tcp", "tcp6"))
    return sum(len(established.findall(table)) for table in tables)


def owner_of(port: int, pids: Mapping[str, int]) -> str | None:
    """The name of the process with a connection from that port of 127.0.0.1, or None.

    Args:
        port: the port that the connection comes from.
        pids: names, and the processes that may have it.
    """
    sockets = _sockets_at(port)
    for name, pid in pids.items():
        if sockets & _sockets_of(pid):
            return name
    return None


def _sockets_at(port: int) -> set[str]:
    # Java's sockets are IPv6 ones, also where they connect to an IPv4 address.
    # Searched as a whole, because thousands of connections that are over may be in there.
    line = re.compile(rf"^ *\d+: \w+:{port:04X} (?:\S+ +){{7}}(\d+)", re.MULTILINE)
    tables = (Path(f"/proc/self/net/{name}").read_text() for name in ("tcp", "tcp6"))
    return {f"socket:[{inode}]" for table in tables for inode in line.findall(table)}


def _sockets_of(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it has ended
        # Not by pathlib: a Java has hundreds, and a proxy waits for the answer.
        folder = f"/proc/{pid}/fd"
        for name in os.listdir(folder):  # noqa: PTH208
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{folder}/{name}"))  # noqa: PTH115
    return found
