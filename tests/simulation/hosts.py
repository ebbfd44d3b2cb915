"""Real threads for the simulated ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["Hosts"]


class Hosts:
    """Real threads that are used again and again; only on one processor, which is quicker."""

    def __init__(self) -> None:
        self._free: list[_Host] = []
        self._all: list[_Host] = []
        self._affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        if self._affinity:
            os.sched_setaffinity(0, {max(self._affinity)})

    def run(self, body: Callable[[], None]) -> None:
        """Run it in a thread that is free."""
        if not self._free:
            host = _Host(self._free)
            self._all.append(host)
        else:
            host = self._free.pop()
        host.body = body
        host.go.release()

    def close(self) -> None:
        """End them."""
        for host in self._all:
            host.body = None
            host.go.release()
        for host in self._all:
            host.thread.join(5.0)
        if self._affinity:
            os.sched_setaffinity(0, self._affinity)


class _Host:
    def __init__(self, free: list[_Host]) -> None:
        self.go = threading.Lock()
        self.go.acquire()
        self.body: Callable[[], None] | None = None
        self._free = free
        self.thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            body, self.body = self.body, None
            if body is None:
                return
            body()
            self._free.append(self)
