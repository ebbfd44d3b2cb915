"""ZooKeeper's ensemble: sessions, followers that lag, and what its leader knows of who is alive."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from kazoo import exceptions as zk

from .kernel import World
from .server import KEY, Server, ServerSession
from .tree_zookeeper import Node, Tree, changed, children_of

__all__ = ["TICK", "Connection", "Member", "ZooKeeperServer"]

TICK = 1.0
_FOLDER = f"/{KEY}"
_SYNC_LIMIT = 5 * TICK  # for so long a member that is cut off goes on answering


class Connection:
    """A client's connection, as a member has it.

    Attributes:
        tell: passes something on to the client, in order.
        hang_up: closes it.
    """

    def __init__(
        self, session: str, tell: Callable[[Callable[[], None]], None], hang_up: Callable[[], None]
    ) -> None:
        self.session, self.tell, self.hang_up = session, tell, hang_up
        self.open = True
        self.waiting: list[Callable[[], None]] = []  # what waits for the member to be back
        self.watches: dict[tuple[str, str], Callable[[Any], None]] = {}


class Member:
    """One server; the first one leads the ensemble.

    Attributes:
        applied: the last transaction that it knows of.
        cut: it cannot reach the others.
        heard: sessions that it has heard of and not told the leader yet.
    """

    def __init__(self, ensemble: ZooKeeperServer, number: int) -> None:
        self.ensemble, self.number = ensemble, number
        self.applied = ensemble.zxid
        self.cut = self.refuses = False
        self.heard: set[str] = set()
        self.connections: list[Connection] = []
        if number:
            # The leader asks each member every half tick whom it has heard of.
            ensemble.world.after(ensemble.rng.uniform(0, TICK / 2), self._report)

    def _report(self) -> None:
        self.ensemble.world.after(TICK / 2, self._report)
        if not self.cut:
            for name in sorted(self.heard):
                if name in self.ensemble.sessions:
                    self.ensemble.touch(self.ensemble.sessions[name])
            self.heard.clear()

    def hear(self, session: str) -> None:
        """A client has said something."""
        if self.number:
            self.heard.add(session)
        elif session in self.ensemble.sessions:
            self.ensemble.touch(self.ensemble.sessions[session])

    @property
    def tree(self) -> Tree:
        """What it knows."""
        return self.ensemble.past[self.applied]

    def apply(self, zxid: int) -> None:
        """Learn of all transactions up to this one, and tell who waits for that."""
        if zxid <= self.applied or self.cut:
            return
        before, self.applied = self.tree, zxid
        after = self.tree
        for one in list(self.connections):
            if one.session not in self.ensemble.sessions and zxid >= self.ensemble.ended.get(
                one.session, math.inf
            ):
                self.drop(one)
                continue
            for (kind, path), fired in list(one.watches.items()):
                if what := changed(kind, path, before, after):
                    del one.watches[kind, path]
                    event = SimpleNamespace(path=path, type=what)
                    one.tell(lambda fired=fired, event=event: fired(event))  # type: ignore[misc]

    def drop(self, connection: Connection) -> None:
        """Hang up."""
        if connection.open:
            connection.open = False
            self.connections.remove(connection)
            connection.hang_up()

    def back(self) -> None:
        """It reaches the others again, and what its clients have asked for goes on."""
        self.cut = self.refuses = False
        self.apply(self.ensemble.zxid)
        for one in list(self.connections):
            waiting, one.waiting = one.waiting, []
            for request in waiting:
                if one.open:
                    request()


class ZooKeeperServer(Server):
    """An ensemble of three.

    Attributes:
        zxid: of the last transaction.
        past: what there was after each transaction.
        ended: with which transaction sessions have ended.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        super().__init__(world, rng, 1.0, 1.0)
        self.zxid = 1 << 32
        self.past: dict[int, Tree] = {self.zxid: {"/": Node(None, 0, 0)}}
        self._queued: tuple[int, list[tuple[int, str, Node]]] = (0, [])
        self.ended: dict[str, int] = {}
        self.moved: dict[str, Connection] = {}  # where each session is
        self.members = [Member(self, number) for number in range(3)]

    def new_id(self, number: int) -> str:
        return f"{0x1000_0000_0000 + number}"

    def touch(self, session: ServerSession) -> None:
        # Sessions end at the ends of ticks.
        until = math.ceil((self.world.now + session.ttl) / TICK + 1e-9) * TICK
        if until > session.expires:
            session.expires = until
            self.world.at(until, lambda: self._expire(session))

    def touch_all(self) -> None:
        for session in list(self.sessions.values()):
            session.expires = 0.0
            self.touch(session)

    def free(self, session: ServerSession) -> None:
        """A transaction like any other."""
        tree = {path: node for path, node in self.tree.items() if node.owner != int(session.id)}
        self.ended[session.id] = self.zxid + 1
        self.commit(tree)

    # -- transactions ------------------------------------------------------------------------

    @property
    def tree(self) -> Tree:
        """What there is."""
        return self.past[self.zxid]

    def commit(self, tree: Tree) -> int:
        """All members learn of it, each in its time."""
        self.zxid += 1
        self.past[self.zxid] = tree
        zxid = self.zxid
        self.members[0].apply(zxid)
        for member in self.members[1:]:
            late = self.rng.uniform(0.0005, 0.005) if self.rng.random() < 0.9 else 0.3
            self.world.after(late, lambda member=member: member.apply(zxid))  # type: ignore[misc]
        return zxid

    def create(self, path: str, data: bytes | None, owner: int, *, sequence: bool) -> Any:
        tree = dict(self.tree)
        parent = path.rpartition("/")[0] or "/"
        if parent not in tree:
            return zk.NoNodeError()
        if sequence:
            path += f"{tree[parent].sequence:010d}"
        if path in tree:
            return zk.NodeExistsError()
        tree[parent] = replace(tree[parent], sequence=tree[parent].sequence + 1)
        tree[path] = Node(data, self.zxid + 1, self.zxid + 1, owner=owner)
        if owner and parent == _FOLDER:
            self.claimed(data or b"")
        self.commit(tree)
        return path, tree[path].stat(0)

    def delete(self, path: str, version: int) -> Any:
        tree = dict(self.tree)
        if path not in tree:
            return zk.NoNodeError()
        if version not in {-1, tree[path].version}:
            return zk.BadVersionError()
        if children_of(tree, path):
            return zk.NotEmptyError()
        del tree[path]
        self.commit(tree)
        return True

    def alive_on(self, connection: Connection) -> bool:
        """Whether the leader takes a request from there."""
        there = connection.session in self.sessions
        return there and self.moved.get(connection.session) is connection

    # -- what the checks look at -------------------------------------------------------------

    def _queue(self) -> list[tuple[int, str, Node]]:
        zxid, found = self._queued
        if zxid != self.zxid:  # it is asked for after each step of a run
            tree = self.tree
            claims = [f"{_FOLDER}/{name}" for name in children_of(tree, _FOLDER)]
            found = sorted(
                (int(path[-10:]), path, tree[path]) for path in claims if tree[path].owner
            )
            self._queued = self.zxid, found
        return found

    def holders(self) -> list[bytes]:
        return [node.data or b"" for _, _, node in self._queue()]

    def token(self) -> int | None:
        queue = self._queue()
        return queue[0][2].created if queue else None

    # -- people, and what befalls members ----------------------------------------------------

    def meddled(self, session: ServerSession | None) -> None:
        queue = self._queue()
        if queue and (session is None or queue[0][2].owner == int(session.id)):
            self.by_hand.add(queue[0][2].created)

    def delete_by_hand(self) -> None:
        queue = self._queue()
        if queue:
            self.meddled(None)
            self.world.note("somebody deletes the leader's node")
            self.delete(queue[0][1], -1)

    def overwrite_by_hand(self) -> None:
        queue = self._queue()
        if queue:
            self.meddled(None)
            self.world.note("somebody writes over the leader's node")
            _, path, node = queue[0]
            changed = replace(
                node, data=b"by hand", version=node.version + 1, modified=self.zxid + 1
            )
            self.commit({**self.tree, path: changed})

    def disturb(self, rng: random.Random, seconds: float) -> None:
        """Cut a member off from the others; its clients still reach it."""
        queue = self._queue()
        there = self.moved.get(str(queue[0][2].owner)) if queue else None
        theirs = [one for one in self.members[1:] if there in one.connections]
        member = rng.choice(theirs if theirs and rng.random() < 0.8 else self.members[1:])
        if member.cut:
            return
        self.world.note(f"server: member {member.number} is cut off from the others")
        member.cut = True

        def refuse() -> None:
            if member.cut:
                member.refuses = True
                for one in list(member.connections):
                    member.drop(one)

        self.world.after(_SYNC_LIMIT, refuse)
        self.world.after(seconds, member.back)

    def mend(self) -> None:
        for member in self.members:
            member.back()
