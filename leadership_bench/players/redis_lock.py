"""Player of redis-py: its `Lock`, with a thread that extends it as users have to."""

from __future__ import annotations

from collections.abc import Callable

import redis

from .player import Player

__all__ = ["PLAYER"]


class _Redis(Player):
    def open(self) -> None:
        self._client = redis.Redis(self.settings.host, self.settings.port)
        self._client.ping()

    def hold(self, key: str, name: str, lead: Callable[[], None]) -> None:
        lock = self._client.lock(key, timeout=self.settings.ttl, thread_local=False)
        lock.acquire()
        try:
            with self.renewing(lock.reacquire):
                lead()
        finally:
            lock.release()

    def close(self) -> None:
        self._client.close()


PLAYER = _Redis
