"""Stands in for the link of the ZooKeeper backend, which is a client of kazoo."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from kazoo import exceptions as zk

from leadership_core import clock
from leadership_core.budget import remaining_budget
from leadership_core.errors import LeadershipError, SessionLost, StoreClosed, StoreUnavailable
from leadership_zookeeper.confirmation import Confirmations
from leadership_zookeeper.errors import ANSWERS
from leadership_zookeeper.grant import Grant
from leadership_zookeeper.wire import Tap

from .kernel import Task
from .model_zookeeper import TICK, Connection, Member, ZooKeeperServer
from .network import Link as Network, Reply
from .primitives import Threading
from .wire_zookeeper import Client, Pending, Wire

__all__ = ["Link"]

_SILENCE = 1.0
_WELCOME = struct.pack("!iiiqi16sb", 37, 0, 4000, 1, 16, b"", 0)  # what a server answers first
_TOUCH = 0.1  # ticks between two touches, as in the handler


class Link:
    """See `leadership_zookeeper.link.Link`."""

    def __init__(
        self,
        where: tuple[Network, ZooKeeperServer, list[Member]],
        options: Any,
        timeout: float,
        *,
        name: str,
        pinned: bool,
        resume: tuple[int, bytes] | None = None,
        changed: Callable[[], None] = lambda: None,
        pace: object = None,  # its servers let in whoever comes
    ) -> None:
        self.network, self.server, self._members = where
        self.acl = None
        self.grant: Grant | None = None
        self.until = math.inf
        self.ended_by_server = False
        self._timeout, self._pinned, self._tell = timeout, pinned, changed
        self._session = resume[0] if resume else None
        self._changed = Threading.Condition()
        self._confirmations = Confirmations()
        self.lost: Exception | None = None
        self._wire: Wire | None = None
        self._inbox: deque[Callable[[], None] | None] = deque()
        self._task: Task | None = None
        self._seen = 0  # the newest transaction that it knows of
        self._heard = self._pinged = 0.0
        self._touch_until = -math.inf
        self._tap: Tap | None = None
        self._down_since = math.inf
        self._thread = Threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # -- what the backend sees -----------------------------------------------------------------

    @property
    def credentials(self) -> tuple[int, bytes] | None:
        return None if self._session is None else (self._session, b"secret")

    @property
    def connected(self) -> bool:
        return self._wire is not None and self.lost is None

    @property
    def over(self) -> bool:
        return self.lost is not None

    def keep_touching(self, until: float) -> Tap | None:
        self._touch_until = until
        if self._task is not None:
            self.network.network.world.wake(self._task)
        return self._tap

    def pause(self, seconds: float) -> None:
        if remaining_budget() <= seconds:
            raise StoreUnavailable("there is less time than that")
        with self._changed:
            self._changed.wait_for(lambda: self.lost is not None, seconds)
        self.check()

    @property
    def down_for(self) -> float:
        return max(0.0, clock.now() - self._down_since)

    def check(self) -> None:
        if self.lost is not None:
            raise type(self.lost)(*self.lost.args)

    def wait_connected(self) -> None:
        until = clock.now() + remaining_budget()
        with self._changed:
            while not self.connected:
                self.check()
                left = until - clock.now()
                if left <= 0:
                    raise StoreUnavailable("cannot connect to ZooKeeper")
                self._changed.wait(left)

    def ask_confirmed(self, doing: str, *requests: Callable[[Any], Pending]) -> list[Any]:
        pending = self._confirmations.send(self, doing)
        sent = self.send(*requests)
        self._confirmations.finish(self, pending, doing)
        return [self.answer(one, doing) for one in sent]

    def post(self, *requests: Callable[[Any], Pending]) -> list[Pending]:
        return self.send(*requests)

    def send(self, *requests: Callable[[Any], Pending]) -> list[Pending]:
        self.wait_connected()
        self.network.sent[int(self.network.network.world.now)] += 1
        wire = self._wire
        if wire is None:
            raise StoreUnavailable("the connection has just broken")
        return [request(Client(self, wire)) for request in requests]

    def ask(self, doing: str, *requests: Callable[[Any], Pending]) -> list[Any]:
        return [self.answer(one, doing) for one in self.send(*requests)]

    def answer(self, pending: Pending, doing: str) -> Any:
        begun, given = clock.now(), remaining_budget()
        if not pending.event.wait(given):
            if self._heard <= begun and clock.now() - begun >= min(_SILENCE, self._timeout / 10):
                self._drop()
            raise StoreUnavailable(f"cannot {doing}: no answer")
        self.network.network.world.step()
        found = pending.answer
        if isinstance(found, zk.SessionExpiredError):
            self.check()
            if self._pinned:
                raise SessionLost("ZooKeeper has ended the session")
            raise StoreUnavailable(f"cannot {doing}: the session has ended")
        if isinstance(found, Exception) and not isinstance(found, ANSWERS):
            raise StoreUnavailable(f"cannot {doing}: {found!r}")
        if self._pinned:
            self.check()
        return found

    def close_session(self) -> None:
        self.ask("end the session", lambda client: client.close_session())

    def cut(self, why: Exception | None = None) -> None:
        with self._changed:
            self.lost = self.lost or why or StoreClosed("the ZooKeeper store is closed")
            self._changed.notify_all()
        self._drop()

    def join(self, timeout: float) -> None:
        if self._thread is not Threading.current_thread():
            self._thread.join(timeout)

    # -- its thread ------------------------------------------------------------------------------

    def arrived(self, what: Callable[[], None] | None) -> None:
        """Something has come in; None is the end of the connection."""
        self._inbox.append(what)
        if self._task is not None:
            self.network.network.world.wake(self._task)

    def _drop(self) -> None:
        wire = self._wire
        if wire is not None:
            self._wire = None
            wire.close()
        elif self._task is not None:
            self.network.network.world.wake(self._task)

    def _run(self) -> None:
        world = self.network.network.world
        self._task = world.current
        pause = 0.1
        while self.lost is None:
            wire = None
            try:
                wire = self._connect()
            except LeadershipError:
                world.sleep(pause * world.rng.random())
                pause = min(0.5, pause * 2)
            if wire is not None:
                pause = 0.1
                self._live(wire)
            if self.lost is None and clock.now() >= self.until:
                world.sleep(world.rng.uniform(0.002, 0.01))  # kazoo takes some steps until then
                self._end(StoreUnavailable("the session was not renewed in time, and is cut off"))

    def _connect(self) -> Wire | None:
        world = self.network.network.world
        member = world.rng.choice(self._members)
        wire = Wire(self, member)
        # The shipped one; what passes by it are the answers to touches.
        self._tap = Tap(lambda _: None, lambda _: None, pings=not self._pinned)
        self._tap.pass_on(lambda: _WELCOME)

        def connect(reply: Reply) -> None:
            self._greet(member, wire, reply)

        limit = min(2.0, self._timeout / 3, max(0.001, self.until - clock.now()))
        granted = self.network.ask(f"connect to {member.number}", connect, limit, held=False)
        if granted is None:
            if self._pinned:
                self.ended_by_server = True
                self._end(SessionLost("ZooKeeper has ended the session"))
            self._session = None
            return None
        assert isinstance(granted, Grant)
        self.grant, self._session = granted, granted.session
        self._heard = self._pinged = clock.now()
        with self._changed:
            if self.lost is None:
                self._wire, self._down_since = wire, math.inf
            self._changed.notify_all()
        return wire

    def _greet(self, member: Member, wire: Wire, reply: Reply) -> None:
        """At the member: a session is made, or moves there."""
        server = self.server
        if member.cut or member.refuses or member.applied < self._seen:
            return  # it asks the leader, or lets nobody in who knows more than it does
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
        reply(Grant(session.ttl, int(session.id)))

    def _live(self, wire: Wire) -> None:
        """Pass on what comes in, until the connection ends."""
        world = self.network.network.world
        self._tell()
        while wire.open and self.lost is None and self._wire is wire:
            while self._inbox:
                what = self._inbox.popleft()
                if what is not None:
                    self._heard = clock.now()
                    self._seen = max(self._seen, wire.member.applied)
                    what()
            now = clock.now()
            left = self.until - now
            if left <= 0 and self._pinged != self.until:
                self._pinged = self.until
                Client(self, wire).close_session()  # which nobody has renewed
            wait = min(left, self._keep_alive(wire, now))
            if wait <= 0:
                break
            if wire.open and self._wire is wire and not self._inbox:
                world.park(world.now + wait / self.network.process.rate)
        with self._changed:
            self._wire, self._down_since = None, clock.now()
        wire.close()
        self._inbox.clear()
        if wire.there is not None and wire.there.open:
            # It learns of that, unless nothing gets through.
            wire.send(partial(wire.member.drop))
        for pending in wire.pending:
            pending.set(zk.ConnectionLoss())
        if not self._pinned:
            self._tell()

    def _keep_alive(self, wire: Wire, now: float) -> float:
        """Say something now and then; returns for how long that is enough, 0.0 if it is too late."""
        if self._pinned:
            if now >= self._touch_until:
                return 60.0
            tap = self._tap
            assert tap is not None
            due = tap.touched + _TOUCH * TICK
            if now < due:
                return due - now
            if not tap.touching:
                wire.touch(tap)
            return _TOUCH * TICK
        # Of its own, kazoo does that every third of the timeout.
        if now - self._heard > self._timeout * 2 / 3:
            return 0.0
        if now - max(self._heard, self._pinged) >= self._timeout / 3:
            self._pinged = now
            wire.send(lambda there: there.tell(lambda: None))
        return self._timeout / 10

    def _end(self, why: Exception) -> None:
        with self._changed:
            self.lost = self.lost or why
            self._changed.notify_all()
        self._tell()
