"""Network namespace of a process, whose only interface can be switched off."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Self, TypeVar

__all__ = ["NetworkNamespace"]

_T = TypeVar("_T")

_NEW_NETWORK = 0x4000_0000  # CLONE_NEWNET
_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
_UP = 1
_REQUEST = struct.Struct("16sh14x")


class NetworkNamespace:
    """A network namespace with a loopback interface only; needs root, and Linux.

    It belongs to a thread, as the kernel has it. What that thread opens is in this network, even
    where another thread uses it: so a `Link` may listen in here and lead out of it.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="test-network", daemon=True)

    @staticmethod
    def is_possible() -> bool:
        """Whether this process may create one."""
        linux = sys.platform == "linux"
        return linux and os.geteuid() == 0 and shutil.which("nsenter") is not None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._make)
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.put(None)
        self._thread.join(5)

    @property
    def words(self) -> tuple[str, ...]:
        """The words before a command that run it in this namespace."""
        place = f"/proc/{os.getpid()}/task/{self._thread.native_id}/ns/net"
        return ("nsenter", f"--net={place}")

    def listen(self, port: int) -> socket.socket:
        """A socket that listens on a port of this namespace's loopback interface."""
        return self._do(lambda: socket.create_server(("127.0.0.1", port), backlog=128))

    def up(self) -> None:
        """Switch the interface on."""
        self._do(lambda: self._switch(on=True))

    def down(self) -> None:
        """Switch it off: all packets are lost in both directions, without an error."""
        self._do(lambda: self._switch(on=False))

    def _do(self, work: Callable[[], _T]) -> _T:
        done: Future[_T] = Future()

        def task() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                done.set_exception(error)

        self._tasks.put(task)
        return done.result(5)

    # -- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _make(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace is available")
        self._switch(on=True)

    def _switch(self, *, on: bool) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            asked = _REQUEST.pack(b"lo", 0)
            _, flags = _REQUEST.unpack(fcntl.ioctl(sock, _GET_FLAGS, asked))
            wanted = _REQUEST.pack(b"lo", flags | _UP if on else flags & ~_UP)
            fcntl.ioctl(sock, _SET_FLAGS, wanted)
