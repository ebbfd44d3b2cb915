"""A host name of the store that stops resolving and resolves again."""

from __future__ import annotations

import ctypes
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.worker import WorkerContext

__all__ = ["NAME", "names_from_file"]

NAME = "election.test"

_NEW_MOUNTS, _NEW_USER = 0x0002_0000, 0x1000_0000  # CLONE_NEWNS, CLONE_NEWUSER
_BIND, _PRIVATE = 0x1000, 0x4_4000  # MS_BIND, MS_REC | MS_PRIVATE


def names_from_file(how: str) -> Callable[[WorkerContext], None]:
    """Resolve exactly the names listed in a file like /etc/hosts.

    In mounts of its own where the machine allows that: what resolves names is then what always
    does, in C libraries, too. Elsewhere, the functions that ask for them are replaced.
    """
    hosts = Path(how)
    if not _mount(hosts):
        _patch(hosts)
    return lambda context: None


def _mount(hosts: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) != 0 and libc.unshare(_NEW_MOUNTS | _NEW_USER) != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        switch, resolvers = Path(folder, "switch"), Path(folder, "resolvers")
        switch.write_text("hosts: files\n")
        resolvers.write_text("nameserver 127.0.0.1\n")  # for those that do not heed the former
        mounts: list[tuple[Path | None, str, int]] = [
            (None, "/", _PRIVATE),
            (hosts, "/etc/hosts", _BIND),
            (switch, "/etc/nsswitch.conf", _BIND),
            (resolvers, "/etc/resolv.conf", _BIND),
        ]
        return all(
            libc.mount(
                None if source is None else os.fsencode(source), target.encode(), None, flags, None
            )
            == 0
            for source, target, flags in mounts
        )


def _patch(hosts: Path) -> None:
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        if host != NAME:
            return real(host, *args, **options)
        if NAME not in hosts.read_text():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *args, **options)

    socket.getaddrinfo = look_up
    try:
        import grpc
    except ImportError:
        return
    channel = grpc.insecure_channel

    def open_channel(target: str, *args: Any, **options: Any) -> Any:
        known = NAME in hosts.read_text()
        address = target.replace(NAME, "127.0.0.1") if known else f"dns://127.0.0.1:9/{target}"
        return channel(address if NAME in target else target, *args, **options)

    grpc.insecure_channel = open_channel
