"""Player of etcd3gw: its `Lock`, tried every 100 ms, since its `acquire` does not wait."""

from __future__ import annotations

from collections.abc import Callable

from etcd3gw.client import Etcd3Client

from .player import Player

__all__ = ["PLAYER"]

_RETRY = 0.1  # seconds


class _Etcd3gw(Player):
    def open(self) -> None:
        settings = self.settings
        self._client = Etcd3Client(host=settings.host, port=settings.port, api_path="/v3/")

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        lock = self._client.lock(key, ttl=int(self.settings.ttl))
        while not lock.acquire():
            if lock.lease is not None:
                lock.lease.revoke()  # otherwise each attempt leaves a lease behind
            if self.ending.wait(_RETRY):
                return
        try:
            with self.renewing(lock.refresh):
                lead()
        finally:
            lock.release()


PLAYER = _Etcd3gw
