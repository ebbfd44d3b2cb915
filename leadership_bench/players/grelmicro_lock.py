"""Player of grelmicro: its lock, each candidate a task of one event loop.

The lock does not renew itself, so its lease is longer than any figure takes.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from grelmicro.sync.lock import Lock

from .player import COOLDOWN, Player

__all__ = ["PLAYER"]

_LEASE = 600.0  # seconds


class _Grelmicro(Player):
    def prepare(self) -> None:
        import grelmicro.sync.redis
        import grelmicro.sync.sqlite  # noqa: F401 - loaded here, used in _connect

        self._loop = asyncio.new_event_loop()
        self._leaving: dict[int, asyncio.Event] = {}
        self._start(self._loop.run_forever)

    def open(self) -> None:
        self._backend = asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result(10)

    async def _connect(self) -> Any:
        settings = self.settings
        if settings.url.startswith("redis"):
            from grelmicro.sync.redis import RedisSyncBackend

            return await RedisSyncBackend(f"redis://{settings.host}:{settings.port}/0").__aenter__()
        from grelmicro.sync.sqlite import SQLiteSyncBackend

        return await SQLiteSyncBackend(f"{settings.host}.grelmicro").__aenter__()

    def join(self, key: str, count: int) -> None:
        for index in range(count):
            asyncio.run_coroutine_threadsafe(self._candidate(key, index), self._loop)

    def elections(self, prefix: str, count: int) -> None:
        self._wanted = count
        for index in range(count):
            asyncio.run_coroutine_threadsafe(
                self._candidate(f"{prefix}/{index}", index), self._loop
            )

    def resign(self) -> None:
        for leaving in tuple(self._leaving.values()):
            self._loop.call_soon_threadsafe(leaving.set)

    async def _candidate(self, key: str, index: int) -> None:
        leaving = self._leaving[index] = asyncio.Event()
        while not self.ending.is_set():
            lock = Lock(key, backend=self._backend, lease_duration=_LEASE)
            await lock.acquire()
            leaving.clear()
            self.elected(index, key)
            await leaving.wait()
            await lock.release()
            await asyncio.sleep(COOLDOWN)

    def close(self) -> None:
        threading.Event().wait(0.2)  # for the release of the present leader


PLAYER = _Grelmicro
