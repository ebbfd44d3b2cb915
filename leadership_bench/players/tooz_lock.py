"""Player of tooz: its lock, renewed by the coordinator's own thread."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from tooz import coordination

from .player import Player

__all__ = ["PLAYER"]

_SCHEMES = {"etcd": "etcd3+http", "zk": "zookeeper", "redis": "redis"}


class _Tooz(Player):
    def prepare(self) -> None:
        settings = self.settings
        scheme = _SCHEMES[settings.url.partition(":")[0]]
        where = f"{scheme}://{settings.host}:{settings.port}?timeout={int(settings.ttl)}"
        if scheme != "etcd3+http":
            where += "&namespace=leadership-bench"
        if scheme == "redis":
            where += f"&lock_timeout={int(settings.ttl)}"
        self._coordinator = coordination.get_coordinator(where, uuid.uuid4().hex.encode())

    def open(self) -> None:
        self._coordinator.start(start_heart=True)

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        lock = self._coordinator.get_lock(key.replace("/", "-").encode())
        lock.acquire(blocking=True)
        try:
            lead()
        finally:
            lock.release()

    def close(self) -> None:
        self._coordinator.stop()


PLAYER = _Tooz
