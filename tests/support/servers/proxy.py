"""A TCP proxy whose link a test cuts, slows down or resets while connections are open."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Literal, Self
from weakref import WeakSet

from tests.support.servers.ports import free_port

__all__ = ["HeldData", "Proxy", "Way"]

Way = Literal["up", "down"]
"""Up is what clients send, down what the server answers."""

_REQUEST = re.compile(rb"(?:GET|PUT|POST|DELETE) \S+(?= HTTP/1)")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class HeldData:
    """Data that a proxy holds back, with all that follows on the same connection.

    Attributes:
        caught: set once such a piece has come.
    """

    def __init__(self, mark: bytes, way: Way, release: Callable[[HeldData], None]) -> None:
        self.mark, self.way = mark, way
        self.caught = threading.Event()
        self._release = release

    def release(self) -> None:
        """Deliver it now; later data are not held back."""
        self._release(self)


class Proxy:
    """Forwards address:port to a target, in its own thread, inside a `with` block.

    Attributes:
        address, port: where it listens; the same for as long as it lives.
        delay: seconds that every piece of data is held back, each way; may be set at any time.
        connections: how many it has accepted so far.
        requests: the lines of the HTTP requests seen so far, such as ``PUT /v1/session/create``
            (none where the connection is encrypted).

    Args:
        port, host: where it forwards to.
        side_of: names the one who connects, by the port that the connection comes from; `cut`
            then takes the side whose connections to cut.
        at: address and port where it listens; a port of its own on 127.0.0.1 if not given.
    """

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        side_of: Callable[[int], str] = lambda port: "",
        at: tuple[str, int] | None = None,
    ) -> None:
        self.target = (host, port)
        self.address, self.port = at or ("127.0.0.1", free_port())
        self.delay = 0.0
        self.connections = 0
        self.requests: list[str] = []
        self._side_of = side_of
        self._cuts: set[tuple[str | None, Way]] = set()  # None: every side
        self._changed = asyncio.Event()
        self._held: list[HeldData] = []
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        self._listener: socket.socket | None = None
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="test-proxy", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset open connections, stop listening and end the thread; may be called again."""
        if self._thread.is_alive():
            self._started.result(5).call_soon_threadsafe(self._closing.set)
            self._thread.join(5)

    def cut(self, *ways: Way, side: str | None = None) -> None:
        """Hold back data in these directions, or in both, without an error, as in a partition.

        It is delivered when the link heals, unless the connection was reset in between.

        Args:
            ways: up, down or both.
            side: hold back only the connections of the one with this name.
        """
        self._do(self._cut({(side, way) for way in ways or ("up", "down")}))

    def heal(self) -> None:
        """Forward everything again, including the data held back."""
        self._do(self._heal())

    def hold(self, mark: bytes, way: Way = "up") -> HeldData:
        """Hold back the next piece of data that contains these bytes, and all that follows it.

        Other connections go on. It is delivered late: by `HeldData.release`.
        """
        held = HeldData(mark, way, self._release)
        self._do(self._add(held))
        return held

    def reset(self) -> None:
        """Break every open connection with a TCP reset; new ones are accepted."""
        self._do(self._reset())

    def refuse(self) -> None:
        """Stop listening and reset open connections: the host is up, the process is down."""
        self._do(self._stop())

    def listen(self) -> None:
        """Accept connections again, after `refuse`."""
        self._do(self._listen())

    def count(self, part: str) -> int:
        """The number of requests so far with `part` in their line."""
        return sum(part in line for line in self.requests)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._started.result(5)).result(5)

    # -- in the thread of the proxy -------------------------------------------------------

    async def _serve(self) -> None:
        self._closing = asyncio.Event()
        try:
            await self._listen()
        except BaseException as error:
            self._started.set_exception(error)
            raise
        self._started.set_result(asyncio.get_running_loop())
        await self._closing.wait()
        await self._stop()
        for transport in self._transports:
            transport.abort()  # it may have data for a client that does not read

    async def _cut(self, cuts: set[tuple[str | None, Way]]) -> None:
        self._cuts |= cuts

    async def _heal(self) -> None:
        self._cuts.clear()
        self._wake()

    async def _add(self, held: HeldData) -> None:
        self._held.append(held)

    def _release(self, held: HeldData) -> None:
        async def release() -> None:
            self._held.remove(held)
            self._wake()

        self._do(release())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _note_requests(self, data: bytes) -> None:
        self.requests += [line.decode() for line in _REQUEST.findall(data)]

    async def _pass(self, side: str, way: Way, data: bytes) -> None:
        """Wait until nothing holds back this piece of data."""
        for held in self._held:
            if held.way == way and held.mark in data and not held.caught.is_set():
                held.caught.set()
                while held in self._held:
                    await self._changed.wait()
        while self._cuts & {(None, way), (side, way)}:
            await self._changed.wait()

    async def _listen(self) -> None:
        # Not by asyncio's server: what that has accepted while it is being closed, it forgets.
        if self._listener is None:
            self._listener = self._open_listener()
            self._listener.settimeout(0)
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _open_listener(self) -> socket.socket:
        return socket.create_server((self.address, self.port), backlog=128)

    def _accept(self, listener: socket.socket) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return  # it has gone again
        self.connections += 1
        self._accepted(near)
        link = asyncio.create_task(self._forward(near))
        self._links[link] = []
        # One that is cancelled before it has begun has not come to the end of `_forward`.
        link.add_done_callback(lambda link: near.close() if link.cancelled() else None)

    def _accepted(self, near: socket.socket) -> None:
        """Called with each new connection, for subclasses."""

    async def _stop(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _reset(self) -> None:
        links, self._links = self._links, {}
        for task, writers in links.items():
            for writer in writers:
                _abort(writer)
            task.cancel()
        if links:
            await asyncio.wait(links)

    async def _forward(self, near: socket.socket) -> None:
        link = asyncio.current_task()
        assert link is not None
        ends = self._links[link]
        try:
            peer = near.getpeername()
            # asyncio does it for the connections that it makes itself only.
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader, writer = await asyncio.open_connection(sock=near)
            ends.append(writer)
            self._transports.add(writer.transport)
            side = self._side_of(peer[1])
            try:
                far_reader, far_writer = await asyncio.open_connection(*self.target)
            except OSError:
                await self._pass(side, "down", b"")  # that the target does not listen is news, too
                _abort(writer)
                return
            ends.append(far_writer)
            self._transports.add(far_writer.transport)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer, side, "up"))
                both.create_task(self._pump(far_reader, writer, side, "down"))
        except asyncio.CancelledError:
            pass  # by _reset, which waits for us
        except OSError:
            pass  # the client has gone already
        finally:
            self._links.pop(link, None)
            for end in ends:
                end.close()
            if not ends:
                near.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: str, way: Way
    ) -> None:
        try:
            while data := await reader.read(65536):
                if way == "up":
                    self._note_requests(data)
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._pass(side, way, data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one end broke the connection: so does the other
        await self._pass(side, way, b"")  # not before the link heals, if it is cut
        writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
