"""Replacements for kazoo's client and the handler of the ZooKeeper backend, on a modelled ensemble."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from kazoo import exceptions as zk
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState, KeeperState

from leadership_core.backend import clock
from leadership_core.errors import LeadershipError
from leadership_zookeeper.sockets import ConnectionMonitor, ConnectResponse

from .kernel import Task
from .model_zookeeper import TICK, Connection, Member, ZooKeeperServer
from .network import Link, Reply
from .primitives import Threading
from .wire_zookeeper import Requests, Wire

__all__ = ["SimHandler", "SimKazoo"]

_HEARTBEAT = 0.1  # ticks between two heartbeats, as in the shipped handler


class SimHandler:
    """See `leadership_zookeeper.transport.Handler`: the part that `Client` uses."""

    timeout_exception = KazooTimeoutError
    all_failed = False  # a caller waits for its whole time
    too_long = None

    def __init__(
        self,
        where: tuple[Link, ZooKeeperServer, list[Member]],
        name: str,
        *_: object,
        allow_pings: bool,
        on_connected: Callable[[ConnectResponse], None],
        until: Callable[[], float],
        on_connect_failed: Callable[[], None],
        on_thread_end: Callable[[Exception | None], None],
        limiter: object,  # the modelled servers accept all connections
    ) -> None:
        self.network, self.server, self.members = where
        self.name, self.allow_pings = name, allow_pings
        self.on_connected, self.until = on_connected, until
        self.on_connect_failed, self.on_thread_end = on_connect_failed, on_thread_end
        self.failures: dict[object, Exception] = {}
        self.thread: Any = None
        self.monitor: ConnectionMonitor | None = None
        self.socket_handle = _SocketHandle()
        self._heartbeat_until = -math.inf

    @property
    def heartbeat_until(self) -> float:
        """The end of the heartbeats, on the clock of the process."""
        return self._heartbeat_until

    @heartbeat_until.setter
    def heartbeat_until(self, until: float) -> None:
        self._heartbeat_until = until
        self.socket_handle.wake()

    def on_session_established(self) -> None:
        """The client has a session."""


class _SocketHandle:
    """See `leadership_zookeeper.sockets.SocketHandle`."""

    def __init__(self) -> None:
        self.closed = Threading.Event()
        self.abort: Callable[[], None] = lambda: None
        self.wake: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Break the connection, and prevent any other."""
        self.closed.set()
        self.abort()


class SimKazoo:
    """See `leadership_zookeeper.kazoo_client.new_client`: the part that `Client` uses."""

    def __init__(
        self, _: object, handler: SimHandler, timeout: float, resume: tuple[int, bytes] | None
    ) -> None:
        self.network = handler.network
        self.client_state = KeeperState.CONNECTING
        self._world = handler.network.network.world
        self._handler, self._timeout = handler, timeout
        self._session = resume[0] if resume else None
        self._listener: Callable[[str], None] = lambda _: None
        self._wire: Wire | None = None
        self._inbox: deque[Callable[[], None] | None] = deque()
        self._task: Task | None = None
        self._seen = 0  # the newest transaction that it has seen
        self._received = self._pinged = 0.0
        handler.socket_handle.abort = self._drop
        handler.socket_handle.wake = self._wake

    def __getattr__(self, name: str) -> Any:
        """A request: one of the ``_async`` methods of kazoo, or `transaction`."""
        if not name.endswith("_async") and name != "transaction":
            raise AttributeError(name)
        network = self.network
        network.sent[int(self._world.now)] += 1
        return getattr(Requests(self._world, self._wire), name)

    @property
    def client_id(self) -> tuple[int, bytes] | None:
        """Number and password of the session."""
        return None if self._session is None else (self._session, b"secret")

    def asks_for_names(self, _: int) -> bool:
        """Whether that request is one for names."""
        return False

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call it at each change of the state."""
        self._listener = listener

    def start_async(self) -> None:
        """Start the thread."""
        handler = self._handler
        handler.thread = Threading.Thread(target=self._run, name=handler.name, daemon=True)
        handler.thread.start()

    def close(self) -> None:
        """Nothing is left to close."""

    def arrived(self, message: Callable[[], None] | None) -> None:
        """A message has arrived; None is the end of the connection."""
        self._inbox.append(message)
        self._wake()

    def observed(self, zxid: int) -> None:
        """An answer has shown the state after that transaction; kazoo does not note it for events."""
        self._seen = max(self._seen, zxid)

    def _wake(self) -> None:
        if self._task is not None:
            self._world.wake(self._task)

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        else:
            self._wake()

    # -- its thread ------------------------------------------------------------------------------

    @property
    def _open(self) -> bool:
        return not self._handler.socket_handle.closed.is_set()

    def _run(self) -> None:
        world = self._world
        self._task = world.current
        pause = 0.1
        while self._open:
            wire = None
            try:
                wire = self._connect()
            except LeadershipError:
                self._handler.on_connect_failed()
                world.sleep(pause * world.rng.random())
                pause = min(0.5, pause * 2)
            if wire is not None:
                pause = 0.1
                self._serve(wire)
            if self._open and clock.now() >= self._handler.until():
                world.sleep(world.rng.uniform(0.002, 0.01))  # as kazoo does
                self._lose_session(KeeperState.CLOSED)
        self._handler.on_thread_end(None)

    def _lose_session(self, state: str) -> None:
        self._session = None
        self.client_state = state
        self._listener(KazooState.LOST)

    def _connect(self) -> Wire | None:
        world, handler = self._world, self._handler
        member = world.rng.choice(handler.members)
        wire = Wire(self, member)
        handler.monitor = monitor = ConnectionMonitor(
            handler.on_connected, lambda _: None, allow_pings=handler.allow_pings
        )

        def connect(reply: Reply) -> None:
            self._greet(member, wire, reply)

        limit = min(2.0, self._timeout / 3, max(0.001, handler.until() - clock.now()))
        granted = self.network.ask(f"connect to {member.number}", connect, limit, held=False)
        ttl, session = granted if isinstance(granted, tuple) else (0.0, 0)
        milliseconds = round(ttl * 1000)
        response = struct.pack("!iiiqi16sb", 37, 0, milliseconds, session, 16, b"", 0)
        monitor.receive(lambda: response)
        if not session:
            self._lose_session(KeeperState.EXPIRED_SESSION)
            return None
        self._session = session
        self._received = self._pinged = clock.now()
        return wire if self._open else None

    def _greet(self, member: Member, wire: Wire, reply: Reply) -> None:
        """At the member: open a session, or move it there."""
        server = self._handler.server
        if member.cut or member.refuses or member.applied < self._seen:
            return  # it cannot ask the leader, or lags behind the client
        if self._session is None:
            session = server.open(self._timeout)
        else:
            found = server.sessions.get(str(self._session))
            if found is None:
                reply(None)
                return
            session = found
            server.touch(session)
        there = Connection(session.id, wire.tell, wire.hung_up)
        before = server.moved.get(session.id)
        server.moved[session.id] = there
        for other in server.members:
            if before in other.connections and before is not None:
                other.drop(before)
        member.connections.append(there)
        wire.there = there
        reply((session.ttl, int(session.id)))

    def _serve(self, wire: Wire) -> None:
        """Process incoming messages until the connection ends."""
        self._wire = wire
        self.client_state = KeeperState.CONNECTED
        self._listener(KazooState.CONNECTED)
        while wire.open and self._open and self._wire is wire:
            while self._inbox:
                message = self._inbox.popleft()
                if message is not None:
                    self._received = clock.now()
                    if self._handler.monitor is not None:
                        self._handler.monitor.last_received = self._received
                    message()
            now, until = clock.now(), self._handler.until()
            if until <= now and self._pinged != until:
                self._pinged = until
                Requests(self._world, wire).close_session_async()  # it was not renewed in time
            wait = min(until - now, self._keep_alive(wire, now))
            if wait <= 0:
                break
            if wire.open and self._wire is wire and not self._inbox:
                self._world.park(self._world.now + wait / self.network.process.rate)
        self._wire = None
        wire.close()
        self._inbox.clear()
        if wire.there is not None and wire.there.open:
            # The member is notified, unless the network is cut.
            wire.send(partial(wire.member.drop))
        for pending in wire.pending:
            pending.set(zk.ConnectionLoss())
        self.client_state = KeeperState.CONNECTING
        self._listener(KazooState.SUSPENDED)

    def _keep_alive(self, wire: Wire, now: float) -> float:
        """Send heartbeats; returns seconds until the next one, 0.0 if the connection is dead."""
        handler = self._handler
        if not handler.allow_pings:
            monitor = handler.monitor
            if monitor is None or now >= handler.heartbeat_until:
                return 60.0
            due = monitor.last_heartbeat + _HEARTBEAT * TICK
            if now < due:
                return due - now
            if not monitor.heartbeat_pending:
                wire.touch(monitor)
            return _HEARTBEAT * TICK
        # kazoo pings every third of the timeout.
        if now - self._received > self._timeout * 2 / 3:
            return 0.0
        if now - max(self._received, self._pinged) >= self._timeout / 3:
            self._pinged = now
            wire.send(lambda there: there.tell(lambda: None))
        return self._timeout / 10
