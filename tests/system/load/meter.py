"""Proxy before a server that counts the requests, the bytes and the connections of all clients."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Coroutine, Iterable

from tests.support.recording import now
from tests.support.servers.proxy import Proxy, Way
from tests.support.servers.request_counter import RequestCounter

__all__ = ["Meter", "per_second"]


class Meter(Proxy):
    """Counts what passes.

    Attributes:
        requests_at: how many requests there were in each second of the boot clock.
        connections_at: how many connections were opened in each.
        pieces: how many pieces of data clients have sent, heartbeats included.
        sent: bytes from clients.
        received: bytes to them.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.requests_at: Counter[int] = Counter()
        self.connections_at: Counter[int] = Counter()
        self.pieces = self.sent = self.received = 0

    @property
    def asked(self) -> int:
        """How many requests there were."""
        return sum(self.requests_at.values())

    def _do(self, work: Coroutine[None, None, None]) -> None:
        # Hundreds of connections are reset at a time, on a machine that has much to do.
        asyncio.run_coroutine_threadsafe(work, self._started.result(60)).result(60)

    def _open_listener(self) -> socket.socket:
        return socket.create_server((self.address, self.port), backlog=4096)

    def _accepted(self, near: socket.socket) -> None:
        self.connections_at[now() // 10**9] += 1

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: str, way: Way
    ) -> None:
        counter = RequestCounter()
        try:
            while data := await reader.read(65536):
                if way == "up":
                    self.pieces += 1
                    self.sent += len(data)
                    if count := counter.count(data):
                        self.requests_at[now() // 10**9] += count
                else:
                    self.received += len(data)
                await self._pass(side, way, data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one end broke the connection: so does the other
        await self._pass(side, way, b"")
        writer.close()


def per_second(counts: Iterable[Counter[int]], since: float, until: float) -> list[int]:
    """The sums of several counters for each whole second between two times of the boot clock."""
    total: Counter[int] = Counter()
    for one in counts:
        total.update(one)
    return [total[second] for second in range(int(since), int(until) + 1)]
