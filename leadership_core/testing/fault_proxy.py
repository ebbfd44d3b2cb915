"""A TCP proxy before a server, which makes outages without touching the server."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from enum import StrEnum
from functools import partial
from typing import Self

from ..backend.url import Host
from ..errors import ConfigurationError

__all__ = ["FaultProxy", "Outage"]

_LIMIT = 10.0  # seconds that a command to the proxy's thread may take
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Outage(StrEnum):
    """A kind of outage of a server, or of the network before it."""

    FREEZE = "freeze"
    """No bytes pass in either direction; connections are accepted, and get no answer. All bytes are
    delivered after the outage."""
    REQUESTS_LOST = "requests_lost"
    """Bytes from clients do not arrive."""
    ANSWERS_LOST = "answers_lost"
    """Requests arrive and take effect; the answers to them do not arrive."""
    RESET = "reset"
    """Every open connection is reset, once; new ones are accepted."""
    REFUSE = "refuse"
    """Every open connection is reset, and new ones are refused."""
    LATE = "late"
    """All bytes arrive late; see `FaultProxy.lateness`."""


class _Link:
    """A client's connection, and the corresponding one to the server."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.ends = [client]
        self.has_gaps = False  # bytes were lost, so it cannot be used any more

    def reset(self) -> None:
        for end in self.ends:
            if not end.transport.is_closing():
                raw: socket.socket = end.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.transport.abort()


class FaultProxy:
    """Forwards connections to servers, and makes outages; a context manager.

    It listens on the loopback interface, one port for each server, and runs in a thread of its
    own. All methods may be called from any thread and return within seconds.

    Args:
        servers: host and port of each server; an outage affects all of them.

    Attributes:
        lateness: seconds by which `Outage.LATE` delays bytes, in each direction.

    Raises:
        ConfigurationError: a server's port is not known.

    Example:
        >>> with FaultProxy([Host("127.0.0.1", 6379)]) as proxy:
        ...     store = open_store(f"redis://{proxy.hosts[0]}")
        ...     proxy.begin(Outage.FREEZE)
    """

    def __init__(self, servers: Iterable[Host]) -> None:
        self._servers = list(servers)
        if not self._servers or any(server.port is None for server in self._servers):
            raise ConfigurationError("a fault proxy needs the host and the port of each server")
        self.lateness: float = 0.1
        self._outage: Outage | None = None
        self._listeners: list[socket.socket] = []
        self._serving: list[asyncio.Server] = []
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._healed = asyncio.Event()
        self._closing = asyncio.Event()
        self._relistening: asyncio.Task[None] | None = None
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="leadership-fault-proxy", daemon=True
        )

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The addresses it listens on, in the order of the servers; they do not change."""
        pairs = zip(self._servers, self._listeners, strict=True)
        return tuple(Host(_local_name(server), one.getsockname()[1]) for server, one in pairs)

    def begin(self, outage: Outage) -> None:
        """Begin an outage, which replaces the present one. `RESET` is over when this returns."""
        self._do(lambda: self._begin(outage))

    def end(self) -> None:
        """End the outage: deliver bytes that were held back, and reset connections that lost bytes."""
        self._do(self._end)

    def close(self) -> None:
        """Reset all connections and stop; may be called again."""
        if self._thread.is_alive():
            self._loop.result(_LIMIT).call_soon_threadsafe(self._closing.set)
            self._thread.join(_LIMIT)

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.result(_LIMIT)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, command: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                command()
            except BaseException as error:  # noqa: BLE001 - raised in the calling thread
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.result(_LIMIT).call_soon_threadsafe(run)
        done.result(_LIMIT)

    # -- in the proxy's thread -----------------------------------------------------------------

    async def _run(self) -> None:
        try:
            self._listeners = [_bound(_local_name(server)) for server in self._servers]
            await self._listen()
        except BaseException as error:
            self._loop.set_exception(error)
            raise
        self._loop.set_result(asyncio.get_running_loop())
        await self._closing.wait()
        self._stop_listening()
        for listener in self._listeners:
            listener.close()

    async def _listen(self) -> None:
        def accept(
            server: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            task = asyncio.get_running_loop().create_task(self._forward(server, reader, writer))
            self._links[task] = _Link(writer)
            task.add_done_callback(lambda done: self._links.pop(done, None))

        self._serving = [
            await asyncio.start_server(partial(accept, server), sock=listener)
            for server, listener in zip(self._servers, self._listeners, strict=True)
        ]

    def _stop_listening(self) -> None:
        for number, serving in enumerate(self._serving):
            address = self._listeners[number].getsockname()[:2]
            serving.close()
            # Bound and not listening: connections are refused, and the port stays reserved.
            self._listeners[number] = _bound(*address)
        self._serving = []
        self._reset()

    def _reset(self) -> None:
        for task, link in list(self._links.items()):
            link.reset()
            task.cancel()

    def _begin(self, outage: Outage) -> None:
        self._end()
        if outage is Outage.RESET:
            self._reset()
            return
        self._outage = outage
        if outage is Outage.REFUSE:
            self._stop_listening()

    def _end(self) -> None:
        was, self._outage = self._outage, None
        if was is Outage.REFUSE:
            for listener in self._listeners:
                listener.listen(128)  # from now on: what connects waits to be accepted
            self._relistening = asyncio.get_running_loop().create_task(self._listen())
        for task, link in list(self._links.items()):
            if link.has_gaps:
                link.reset()
                task.cancel()
        healed, self._healed = self._healed, asyncio.Event()
        healed.set()

    async def _forward(
        self, server: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = self._links[task]
        try:
            while self._outage is Outage.FREEZE:
                await self._healed.wait()  # a frozen server completes no handshake of its own
            far_reader, far_writer = await asyncio.open_connection(server.name, server.port)
            link.ends.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(link, reader, far_writer, Outage.REQUESTS_LOST))
                both.create_task(self._pump(link, far_reader, writer, Outage.ANSWERS_LOST))
        except asyncio.CancelledError:
            pass  # by a reset
        except OSError:
            link.reset()  # the server is away: clients see that as they would without a proxy
        finally:
            for end in link.ends:
                end.close()

    async def _pump(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        losing: Outage,
    ) -> None:
        try:
            while True:
                data = await reader.read(65536)
                if self._outage is Outage.LATE:
                    await asyncio.sleep(self.lateness)
                while self._outage is Outage.FREEZE:
                    await self._healed.wait()
                if self._outage is losing:
                    link.has_gaps = True
                    if data:
                        continue
                    await self._healed.wait()  # the end of the connection is lost, too
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one end broke the connection: so does the other
        writer.close()


def _bound(name: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((name, port))
    return listener


def _local_name(server: Host) -> str:
    """The loopback address to listen on: the server's own if it is one, so that certificates fit."""
    if server.name in {"127.0.0.1", "::1"}:
        return server.name
    return "127.0.0.1"
