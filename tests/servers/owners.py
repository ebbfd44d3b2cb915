"""Which of some processes holds the near end of a TCP connection of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

__all__ = ["owner_of"]


def owner_of(port: int, pids: Mapping[str, int]) -> str | None:
    """The name of the process that has a connection from that port of 127.0.0.1; None if none has.

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
    found = set()
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(f":{port:04X}"):
                found.add(f"socket:[{fields[9]}]")
    return found


def _sockets_of(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it has ended
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(file.readlink()))
    return found
