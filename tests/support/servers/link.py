"""The link of a candidate to its store, with packet loss, delays and lost answers."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from weakref import WeakSet

from tests.support.servers.network_namespace import NetworkNamespace
from tests.support.servers.packets import lose_packets, pass_packets
from tests.support.servers.proxy import Proxy, Way
from tests.support.servers.request_counter import RequestCounter

__all__ = ["Link", "WithheldAnswer"]

_PIECES = 64  # that are on their way at a time, on a connection
_STALLS = (0.2, 1.0)  # seconds that a lost packet costs, until it has been sent again


class WithheldAnswer:
    """An answer that is held back, with all that follows it on its connection.

    Attributes:
        asked: set once the request has been let through.
    """

    def __init__(self, link: Link, mark: bytes) -> None:
        self.mark = mark
        self.asked = threading.Event()
        self.side = ""
        self._link = link

    def release(self) -> None:
        """Deliver it now."""
        self._link.let_answer(self)


class Link(Proxy):
    """A proxy that can also lose packets, limit bandwidth and forget connections.

    Attributes:
        delay: as of `Proxy`, but what follows is under way at the same time.
        asked: the times of all requests so far, on `time.monotonic`.

    Args:
        port: where it leads to.
        space: where it begins, if not in the network of this process.
    """

    def __init__(self, port: int, *, space: NetworkNamespace | None = None) -> None:
        super().__init__(port, side_of=str)  # so that each connection is a side of its own
        self.asked: list[float] = []
        self._space = space
        self._lost = 0.0  # the share of packets
        self._rate = 0.0  # bytes a second, each way; 0 is no limit
        self._free_at: dict[Way, float] = {"up": 0.0, "down": 0.0}
        self._near: WeakSet[socket.socket] = WeakSet()
        self._heard: dict[str, float] = {}  # when something was sent, by connection
        self._gone: set[str] = set()  # connections that are not going to come back
        self._withheld: list[WithheldAnswer] = []
        self._rng = random.Random(port)

    # -- faults ------------------------------------------------------------------------------

    def swallow(self) -> None:
        """Lose every packet: there is no answer, no acknowledgement and no refusal."""
        self.lose(1.0)
        self.cut()

    def lose(self, share: float) -> None:
        """Lose a share of the packets.

        Those of clients are really lost. What the kernel sends for us cannot be; in its stead,
        the same share of what the store says is late by as much as sending it again takes.
        """
        self._do(self._lose(share))

    def thin(self, rate: float) -> None:
        """Limit the bandwidth to so many bytes a second, each way; 0 sets no limit."""
        self._rate = rate

    def vanish(self, *, idle: float = 0.0) -> None:
        """Forget connections, as a router does: both sides get nothing from then on; new ones work.

        Args:
            idle: only those on which nothing has been sent for so many seconds.
        """
        self._do(self._vanish(idle))

    def withhold(self, mark: bytes) -> WithheldAnswer:
        """Forward the next request that contains these bytes, and hold back its answer."""
        found = WithheldAnswer(self, mark)
        self._do(self._withhold(found))
        return found

    def let_answer(self, withheld: WithheldAnswer) -> None:
        """See `WithheldAnswer.release`."""
        self._do(self._let_answer(withheld))

    def most_within(self, seconds: float, *, since: float = 0.0, until: float = 1e99) -> int:
        """The largest number of requests within a span of that length."""
        times = [at for at in self.asked if since <= at <= until]
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] > seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    # -- in the thread of the proxy -------------------------------------------------------------

    async def _lose(self, share: float) -> None:
        self._lost = share
        if self._listener is not None:
            self._filter(self._listener)
        for near in self._near:
            self._filter(near)

    def _filter(self, sock: socket.socket) -> None:
        if self._lost:
            lose_packets(sock, self._lost)
        else:
            pass_packets(sock)

    async def _vanish(self, idle: float) -> None:
        now = time.monotonic()
        for near in list(self._near):
            side = _side(near)
            if side and now - self._heard.get(side, 0.0) >= idle:
                lose_packets(near, 1.0)
                self._near.discard(near)
                self._gone.add(side)
                self._cuts |= {(side, "up"), (side, "down")}

    async def _withhold(self, withheld: WithheldAnswer) -> None:
        self._withheld.append(withheld)

    async def _let_answer(self, withheld: WithheldAnswer) -> None:
        self._withheld = [one for one in self._withheld if one is not withheld]
        self._cuts.discard((withheld.side, "down"))
        self._wake()

    async def _heal(self) -> None:
        self._rate = 0.0
        await self._lose(0.0)
        self._cuts.clear()
        self._cuts |= {(side, way) for side in self._gone for way in ("up", "down")}
        self._wake()

    def _open_listener(self) -> socket.socket:
        listener = (
            super()._open_listener() if self._space is None else self._space.listen(self.port)
        )
        self._filter(listener)
        return listener

    def _accepted(self, near: socket.socket) -> None:
        self._near.add(near)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: str, way: Way
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(reader, under_way, side, way))
            both.create_task(self._deliver(under_way, writer, side, way))

    async def _take(
        self,
        reader: asyncio.StreamReader,
        under_way: asyncio.Queue[tuple[float, bytes]],
        side: str,
        way: Way,
    ) -> None:
        meter = RequestCounter()
        try:
            while data := await reader.read(65536):
                now = time.monotonic()
                self._heard[side] = now
                if way == "up":
                    self._note_requests(data)
                    self.asked += [now] * meter.count(data)
                await under_way.put((now + self.delay + self._stall(way), data))
        except OSError:
            pass  # one end broke the connection: so does the other
        await under_way.put((0.0, b""))

    async def _deliver(
        self,
        under_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        side: str,
        way: Way,
    ) -> None:
        try:
            while (item := await under_way.get())[1]:
                due, data = item
                await asyncio.sleep(due - time.monotonic())
                await self._squeeze(way, len(data))
                await self._pass(side, way, data)
                if way == "up":
                    self._look_for(data, side)
                writer.write(data)
                await writer.drain()
        except OSError:
            while (await under_way.get())[1]:
                pass  # there is no receiver
        await self._pass(side, way, b"")  # not before the link heals, if it is cut
        writer.close()

    def _stall(self, way: Way) -> float:
        lost = way == "down" and 0 < self._lost < 1 and self._rng.random() < self._lost
        return self._rng.uniform(*_STALLS) if lost else 0.0

    async def _squeeze(self, way: Way, size: int) -> None:
        if self._rate:
            begun = max(time.monotonic(), self._free_at[way])
            self._free_at[way] = begun + size / self._rate
            await asyncio.sleep(self._free_at[way] - time.monotonic())

    def _look_for(self, data: bytes, side: str) -> None:
        for withheld in self._withheld:
            if withheld.mark in data and not withheld.side:
                withheld.side = side
                self._cuts.add((side, "down"))
                withheld.asked.set()


def _side(near: socket.socket) -> str:
    try:
        return str(near.getpeername()[1])
    except OSError:
        return ""  # it has ended
