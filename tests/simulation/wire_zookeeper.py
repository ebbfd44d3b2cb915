"""A connection to a member of the ensemble, and the requests that are made on it."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from kazoo import exceptions as zk

from leadership_zookeeper.wire import Tap

from .model_zookeeper import Connection, Member
from .network import Link as Network
from .primitives import Threading
from .tree_zookeeper import children_of

__all__ = ["Client", "Pending", "Wire"]

DEAD = 11.0  # seconds until TCP gives up a connection
_TOUCHED = struct.pack("!iiqi", 16, -2, 0, 0)  # what a server answers to a touch


class Owner(Protocol):
    """A link, as its wire knows it."""

    network: Network

    def arrived(self, what: Callable[[], None] | None) -> None:
        """Something has come in; None is the end of the connection."""


class Pending:
    """An answer that may not have come yet."""

    def __init__(self) -> None:
        self.event = Threading.Event()
        self.answer: Any = None

    def ready(self) -> bool:
        return self.event.is_set()

    def set(self, answer: Any) -> None:
        if not self.event.is_set():
            self.answer = answer
            self.event.set()


class Wire:
    """One TCP connection to a member: what is sent comes in order, or not at all."""

    def __init__(self, link: Owner, member: Member) -> None:
        self._link, self.member = link, member
        self._network = link.network
        self._world = link.network.network.world
        self.there: Connection | None = None
        self.open = True
        self.pending: list[Pending] = []
        self._pipes: tuple[_Pipe, _Pipe] = (_Pipe(), _Pipe())
        self._network.on_reset(self.close)

    def send(self, request: Callable[[Connection], None]) -> None:
        """To the member."""
        self._put(self._pipes[0], lambda: self._take(request))

    def touch(self, tap: Tap) -> None:
        """Keep the session alive; the answer passes by the tap."""
        tap.note_touch()
        self.send(lambda there: there.tell(partial(_answer, tap)))

    def tell(self, what: Callable[[], None]) -> None:
        """To the client, in its thread."""
        self._put(self._pipes[1], lambda: self._link.arrived(what))

    def _take(self, request: Callable[[Connection], None]) -> None:
        there = self.there
        if there is not None and there.open:
            self.member.hear(there.session)
            if there.waiting:
                there.waiting.append(lambda: request(there))
            else:
                request(there)

    def _put(self, pipe: _Pipe, what: Callable[[], None]) -> None:
        pipe.until = max(pipe.until, self._world.now) + self._network.network.delay(self._network)
        pipe.waiting.append(what)
        self._world.at(pipe.until, lambda: self._arrive(pipe))

    def _arrive(self, pipe: _Pipe) -> None:
        if not pipe.waiting:
            return
        network = self._network.network
        cut = self._network.cut_requests if pipe is self._pipes[0] else self._network.cut_answers
        if network.down or cut:
            pipe.silent = pipe.silent or self._world.now
            if self._world.now - pipe.silent > DEAD:
                pipe.waiting.clear()
                self.close()
            else:
                self._world.after(0.3, lambda: self._arrive(pipe))
            return
        pipe.silent = 0.0
        # What was sent arrives, also when its sender has hung up since.
        pipe.waiting.popleft()()

    def close(self) -> None:
        """The client, or the network, ends it; the member finds out at once, or in time."""
        if self.open:
            self.open = False
            self._pipes[1].waiting.clear()
            self._link.arrived(None)

    def hung_up(self) -> None:
        """The member ends it."""
        self._put(self._pipes[1], self.close)


def _answer(tap: Tap) -> None:
    tap.pass_on(lambda: _TOUCHED)


class _Pipe:
    def __init__(self) -> None:
        self.until = 0.0
        self.silent = 0.0
        self.waiting: deque[Callable[[], None]] = deque()


class Client:
    """What requests are made of: the methods of kazoo's client that the backend calls."""

    def __init__(self, link: Owner, wire: Wire) -> None:
        self._link, self._wire = link, wire
        self.member = wire.member
        self._server = wire.member.ensemble

    def _ask(self, what: str, do: Callable[[Connection], Any], *, writes: bool) -> Pending:
        pending = Pending()
        if not self._wire.open:
            pending.set(zk.ConnectionLoss())
        self._wire.pending.append(pending)
        world = self._server.world
        if world.trace is not None:
            world.note(f"{world.current!r} sends {what} to member {self.member.number}")

        def serve(there: Connection) -> None:
            member, server = self.member, self._server
            if writes and member.cut:
                there.waiting.append(lambda: serve(there))
                return
            if writes and not server.alive_on(there):
                answer: Any = zk.SessionExpiredError()
            else:
                answer = do(there)
                if writes:
                    member.apply(server.zxid)
            there.tell(lambda: pending.set(answer))

        self._wire.send(serve)
        return pending

    def sync_async(self, path: str) -> Pending:
        return self._ask("sync", lambda _: path, writes=True)

    def transaction(self) -> Transaction:
        return Transaction(lambda: self._ask("transaction", lambda _: [True], writes=True))

    def create_async(
        self,
        path: str,
        value: bytes | None,
        *,
        ephemeral: bool = False,
        sequence: bool = False,
        include_data: bool = False,
    ) -> Pending:
        def create(there: Connection) -> Any:
            owner = int(there.session) if ephemeral else 0
            made = self._server.create(path, value, owner, sequence=sequence)
            return made if include_data or isinstance(made, Exception) else made[0]

        return self._ask(f"create {path[-12:]}", create, writes=True)

    def delete_async(self, path: str, version: int = -1) -> Pending:
        return self._ask(
            f"delete {path[-12:]}", lambda _: self._server.delete(path, version), writes=True
        )

    def get_async(self, path: str, watch: Any = None) -> Pending:
        def get(there: Connection) -> Any:
            tree = self.member.tree
            node = tree.get(path)
            if node is None:
                return zk.NoNodeError()
            if watch is not None:
                there.watches["data", path] = watch
            return node.data, node.stat(len(children_of(tree, path)))

        return self._ask(f"get {path[-12:]}", get, writes=False)

    def exists_async(self, path: str, watch: Any = None) -> Pending:
        def exists(there: Connection) -> Any:
            if watch is not None:
                there.watches["data", path] = watch
            node = self.member.tree.get(path)
            return None if node is None else node.stat(0)

        return self._ask(f"exists {path[-12:]}", exists, writes=False)

    def get_children_async(self, path: str, watch: Any = None) -> Pending:
        def names(there: Connection) -> Any:
            tree = self.member.tree
            if path not in tree:
                return zk.NoNodeError()
            if watch is not None:
                there.watches["children", path] = watch
            return children_of(tree, path)

        return self._ask(f"children {path[-12:]}", names, writes=False)

    def close_session(self) -> Pending:
        def close(there: Connection) -> Any:
            self._server.end(self._server.sessions[there.session])
            return True

        return self._ask("close session", close, writes=True)


class Transaction:
    """One that checks and changes nothing: for its answer, the leader asks a majority."""

    def __init__(self, commit: Callable[[], Pending]) -> None:
        self.commit_async = commit

    def check(self, path: str, version: int) -> None:
        pass
