"""A TCP connection to a member of the ensemble, and the requests on it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from kazoo import exceptions as zk
from kazoo.handlers.threading import KazooTimeoutError

from leadership_zookeeper.sockets import ConnectionMonitor

from .kernel import World
from .model_zookeeper import Connection, Member, children_of
from .network import Link as Network, Pipe
from .primitives import Threading

__all__ = ["Pending", "Requests", "Wire"]

_BROKEN_AFTER = 11.0  # seconds until TCP gives up a connection
_TOUCHED = struct.pack("!iiqi", 16, -2, 0, 0)  # the response to a heartbeat


class Owner(Protocol):
    """The link that owns a connection."""

    network: Network

    def arrived(self, what: Callable[[], None] | None) -> None:
        """A message has arrived; None is the end of the connection."""

    def observed(self, zxid: int) -> None:
        """An answer has shown the state after that transaction."""


class Pending:
    """The future result of a request."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._event = Threading.Event()
        self._answer: Any = None
        self._callbacks: list[Callable[[Pending], None]] = []

    @property
    def value(self) -> Any:
        """The answer, if it was successful."""
        return self._answer

    def ready(self) -> bool:
        return self._event.is_set()

    def set(self, answer: Any) -> None:
        if not self._event.is_set():
            self._answer = answer
            self._event.set()
            for callback in self._callbacks:
                callback(self)

    def successful(self) -> bool:
        return self.ready() and not isinstance(self._answer, Exception)

    def rawlink(self, callback: Callable[[Pending], None]) -> None:
        """Call a function once the answer is there, as kazoo does."""
        if self.ready():
            callback(self)
        else:
            self._callbacks.append(callback)

    def get(self, timeout: float) -> Any:
        """The answer; an exception is raised, as kazoo does."""
        if not self._event.wait(timeout):
            raise KazooTimeoutError
        self._world.step()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Wire:
    """One TCP connection to a member."""

    def __init__(self, link: Owner, member: Member) -> None:
        self._link, self.member = link, member
        self._network = link.network
        self._world = link.network.network.world
        self.there: Connection | None = None
        self.open = True
        self.pending: list[Pending] = []
        self._to_member, self._to_client = (
            Pipe(self._network, is_cut, self.close, limit=_BROKEN_AFTER, retry=0.3)
            for is_cut in (
                lambda: self._network.cut_requests,
                lambda: self._network.cut_answers,
            )
        )
        self._network.on_reset(self.close)

    def send(self, request: Callable[[Connection], None]) -> None:
        """Send a request to the member."""
        self._to_member.send(lambda: self._receive(request))

    def touch(self, monitor: ConnectionMonitor) -> None:
        """Send a heartbeat; its response goes through the monitor."""
        monitor.record_heartbeat()
        self.send(lambda there: there.tell(partial(_answer, monitor)))

    def tell(self, what: Callable[[], None]) -> None:
        """Send a message to the client, which processes it in its thread."""
        self._to_client.send(lambda: self._link.arrived(what))

    def observed(self, zxid: int) -> None:
        """An answer has arrived; called in the client's thread."""
        self._link.observed(zxid)

    def _receive(self, request: Callable[[Connection], None]) -> None:
        there = self.there
        if there is not None and there.open:
            self.member.hear(there.session)
            if there.waiting:
                there.waiting.append(lambda: request(there))
            else:
                request(there)

    def close(self) -> None:
        """The client or the network ends it. What was sent before still arrives."""
        if self.open:
            self.open = False
            self._to_client.clear()
            self._link.arrived(None)

    def hung_up(self) -> None:
        """The member closes the connection."""
        self._to_client.send(self.close)


def _answer(monitor: ConnectionMonitor) -> None:
    monitor.receive(lambda: _TOUCHED)


class Requests:
    """The methods of kazoo's client that the backend calls, on one connection or none."""

    def __init__(self, world: World, wire: Wire | None) -> None:
        self._world, self._wire = world, wire

    def _ask(self, doing: str, do: Callable[[Connection, Member], Any], *, writes: bool) -> Pending:
        pending, world, wire = Pending(self._world), self._world, self._wire
        if wire is None or not wire.open:
            pending.set(zk.ConnectionLoss())
        if wire is None:
            return pending
        wire.pending.append(pending)
        member, server = wire.member, wire.member.ensemble
        if world.trace is not None:
            world.note(f"{world.current!r} sends {doing} to member {member.number}")

        def serve(there: Connection) -> None:
            if writes and member.cut:
                there.waiting.append(lambda: serve(there))
                return
            if writes and not server.alive_on(there):
                answer: Any = zk.SessionExpiredError()
            else:
                answer = do(there, member)
                if writes:
                    member.apply(server.zxid)
            zxid = member.applied

            def arrived() -> None:
                wire.observed(zxid)
                pending.set(answer)

            there.tell(arrived)

        wire.send(serve)
        return pending

    def sync_async(self, path: str) -> Pending:
        return self._ask("sync", lambda *_: path, writes=True)

    def transaction(self) -> Transaction:
        return Transaction(lambda: self._ask("transaction", lambda *_: [True], writes=True))

    def create_async(
        self,
        path: str,
        value: bytes | None,
        *,
        ephemeral: bool = False,
        sequence: bool = False,
        include_data: bool = False,
    ) -> Pending:
        def create(there: Connection, member: Member) -> Any:
            owner = int(there.session) if ephemeral else 0
            made = member.ensemble.create(path, value, owner, sequence=sequence)
            return made if include_data or isinstance(made, Exception) else made[0]

        return self._ask(f"create {path[-12:]}", create, writes=True)

    def delete_async(self, path: str, version: int = -1) -> Pending:
        return self._ask(
            f"delete {path[-12:]}", lambda _, at: at.ensemble.delete(path, version), writes=True
        )

    def get_async(self, path: str, watch: Any = None) -> Pending:
        def get(there: Connection, member: Member) -> Any:
            tree = member.tree
            node = tree.get(path)
            if node is None:
                return zk.NoNodeError()
            if watch is not None:
                there.watches["data", path] = watch
            return node.data, node.stat(len(children_of(tree, path)))

        return self._ask(f"get {path[-12:]}", get, writes=False)

    def exists_async(self, path: str, watch: Any = None) -> Pending:
        def exists(there: Connection, member: Member) -> Any:
            if watch is not None:
                there.watches["data", path] = watch
            node = member.tree.get(path)
            return None if node is None else node.stat(0)

        return self._ask(f"exists {path[-12:]}", exists, writes=False)

    def get_children_async(self, path: str, watch: Any = None) -> Pending:
        def names(there: Connection, member: Member) -> Any:
            tree = member.tree
            if path not in tree:
                return zk.NoNodeError()
            if watch is not None:
                there.watches["children", path] = watch
            return children_of(tree, path)

        return self._ask(f"children {path[-12:]}", names, writes=False)

    def close_session_async(self) -> Pending:
        def close(there: Connection, member: Member) -> Any:
            server = member.ensemble
            server.end(server.sessions[there.session])
            return True

        return self._ask("close session", close, writes=True)


class Transaction:
    """A transaction that changes nothing, which the leader answers after a majority has confirmed it."""

    def __init__(self, commit: Callable[[], Pending]) -> None:
        self.commit_async = commit

    def check(self, path: str, version: int) -> None:
        pass
