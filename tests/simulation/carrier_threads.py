"""Pool of real threads that carry the simulated ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["CarrierThreads"]


class CarrierThreads:
    """A pool of threads, bound to one processor, which is quicker."""

    def __init__(self) -> None:
        self._free: list[_Carrier] = []
        self._all: list[_Carrier] = []
        self._affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        if self._affinity:
            os.sched_setaffinity(0, {max(self._affinity)})

    def run(self, body: Callable[[], None]) -> None:
        """Run it in a free thread."""
        if not self._free:
            carrier = _Carrier(self._free)
            self._all.append(carrier)
        else:
            carrier = self._free.pop()
        carrier.body = body
        carrier.go.release()

    def close(self) -> None:
        """End all threads."""
        for carrier in self._all:
            carrier.body = None
            carrier.go.release()
        for carrier in self._all:
            carrier.thread.join(5.0)
        if self._affinity:
            os.sched_setaffinity(0, self._affinity)


class _Carrier:
    def __init__(self, free: list[_Carrier]) -> None:
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
            del body  # refers to the whole run
            self._free.append(self)
