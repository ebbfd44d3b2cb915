"""Model of a ZooKeeper ensemble: sessions, lagging followers, and the leader's knowledge of clients."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from kazoo import exceptions as zk

from .kernel import World
from .server import KEY, Server, ServerClaim, ServerSession

__all__ = ["TICK", "Connection", "Member", "Node", "Tree", "ZooKeeperServer", "children_of"]

TICK = 1.0
_FOLDER = f"/{KEY}"
_SYNC_LIMIT = 5 * TICK  # seconds for which a member that is cut off still answers


Tree = dict[str, "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as of one transaction."""

    data: bytes | None
    created: int
    modified: int
    version: int = 0
    owner: int = 0
    sequence: int = 0

    def stat(self, children: int) -> SimpleNamespace:
        return SimpleNamespace(
            czxid=self.created,
            mzxid=self.modified,
            version=self.version,
            ephemeralOwner=self.owner,
            numChildren=children,
            dataLength=len(self.data or b""),
        )


def watch_event(kind: str, path: str, before: Tree, after: Tree) -> str | None:
    """The type of the event that a watch delivers for the difference, or None."""
    if kind == "children":
        if path in before and path not in after:
            return "DELETED"
        return "CHILD" if children_of(before, path) != children_of(after, path) else None
    old, new = before.get(path), after.get(path)
    if old is not None and (new is None or new.created != old.created):
        return "DELETED"
    if old is None and new is not None:
        return "CREATED"
    return "CHANGED" if old != new and old is not None else None


def children_of(tree: Tree, path: str) -> list[str]:
    """The names below a node."""
    below = path.rstrip("/") + "/"
    return sorted(
        one[len(below) :] for one in tree if one.startswith(below) and "/" not in one[len(below) :]
    )


class Connection:
    """A client's connection, as a member has it.

    Attributes:
        tell: sends a message to the client, in order.
        hang_up: closes it.
    """

    def __init__(
        self, session: str, tell: Callable[[Callable[[], None]], None], hang_up: Callable[[], None]
    ) -> None:
        self.session, self.tell, self.hang_up = session, tell, hang_up
        self.open = True
        self.waiting: list[
            Callable[[], None]
        ] = []  # requests that wait until the member is connected again
        self.watches: dict[tuple[str, str], Callable[[Any], None]] = {}


class Member:
    """One server of the ensemble; the first one leads it.

    Attributes:
        applied: the last transaction that it has applied.
        cut: it cannot reach the others.
        heard: sessions of clients that it has heard of since its last report to the leader.
    """

    def __init__(self, ensemble: ZooKeeperServer, number: int) -> None:
        self.ensemble, self.number = ensemble, number
        self.applied = ensemble.zxid
        self.cut = self.refuses = False
        self.heard: set[str] = set()
        self.connections: list[Connection] = []
        if number:
            # Twice a tick the leader asks each member which clients it has heard of.
            ensemble.world.after(ensemble.rng.uniform(0, TICK / 2), self._report)

    def _report(self) -> None:
        self.ensemble.world.after(TICK / 2, self._report)
        if not self.cut:
            for name in sorted(self.heard):
                if name in self.ensemble.sessions:
                    self.ensemble.touch(self.ensemble.sessions[name])
            self.heard.clear()

    def hear(self, session: str) -> None:
        """A message of a client has arrived."""
        if self.number:
            self.heard.add(session)
        elif session in self.ensemble.sessions:
            self.ensemble.touch(self.ensemble.sessions[session])

    @property
    def tree(self) -> Tree:
        """The tree as of its last transaction."""
        return self.ensemble.past[self.applied]

    def apply(self, zxid: int) -> None:
        """Apply all transactions up to this one in their order, and fire the watches that they concern."""
        while self.applied < zxid and not self.cut:
            self._apply_next()

    def _apply_next(self) -> None:
        before, zxid = self.tree, self.applied + 1
        self.applied = zxid
        after = self.tree
        for one in list(self.connections):
            if one.session not in self.ensemble.sessions and zxid >= self.ensemble.ended.get(
                one.session, math.inf
            ):
                self.drop(one)
                continue
            for (kind, path), fired in list(one.watches.items()):
                if what := watch_event(kind, path, before, after):
                    del one.watches[kind, path]
                    event = SimpleNamespace(path=path, type=what)
                    one.tell(lambda fired=fired, event=event: fired(event))  # type: ignore[misc]  # mypy infers no lambda with defaults

    def drop(self, connection: Connection) -> None:
        """Hang up."""
        if connection.open:
            connection.open = False
            self.connections.remove(connection)
            connection.hang_up()

    def back(self) -> None:
        """Reach the others again, and process the requests that waited for it."""
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
        past: the tree after each transaction.
        ended: by session, the transaction that ended it.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        super().__init__(world, rng, 1.0, 1.0)
        self.zxid = 1 << 32
        self.past: dict[int, Tree] = {self.zxid: {"/": Node(None, 0, 0)}}
        self._claims: tuple[int, list[ServerClaim]] = (0, [])
        self.ended: dict[str, int] = {}
        self.moved: dict[str, Connection] = {}  # the present connection of each session
        self.members = [Member(self, number) for number in range(3)]

    def new_id(self, number: int) -> str:
        return f"{0x1000_0000_0000 + number}"

    def printed_id(self, session: str) -> str:
        return f"{int(session):#x}"

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
        """Delete its ephemeral nodes, in one transaction."""
        tree = {path: node for path, node in self.tree.items() if node.owner != int(session.id)}
        self.ended[session.id] = self.zxid + 1
        self.commit(tree)

    # -- transactions ------------------------------------------------------------------------

    @property
    def tree(self) -> Tree:
        """The present tree."""
        return self.past[self.zxid]

    def commit(self, tree: Tree) -> int:
        """Make it the present tree; the followers apply it later."""
        self.zxid += 1
        self.past[self.zxid] = tree
        zxid = self.zxid
        self.members[0].apply(zxid)
        for member in self.members[1:]:
            late = self.rng.uniform(0.0005, 0.005) if self.rng.random() < 0.9 else 0.3
            self.world.after(late, lambda member=member: member.apply(zxid))  # type: ignore[misc]  # mypy infers no lambda with defaults
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
            self.record_claim(data or b"")
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
        """Whether the leader accepts a request from that connection."""
        there = connection.session in self.sessions
        return there and self.moved.get(connection.session) is connection

    # -- what the checks read ----------------------------------------------------------------

    def claims(self) -> list[ServerClaim]:
        zxid, found = self._claims
        if zxid != self.zxid:  # the checks ask after each step of a run
            tree = self.tree
            paths = [f"{_FOLDER}/{name}" for name in children_of(tree, _FOLDER)]
            nodes = sorted((int(path[-10:]), path) for path in paths if tree[path].owner)
            found = [
                ServerClaim(tree[path].data or b"", tree[path].created, str(tree[path].owner), path)
                for _, path in nodes
            ]
            self._claims = self.zxid, found
        return found

    # -- an operator, and faults of members --------------------------------------------------

    def delete_first(self) -> None:
        path = self.claims()[0].place
        assert isinstance(path, str)
        self.delete(path, -1)

    def operator_deletes(self) -> None:
        waiting = self.claims()[1:]
        if not waiting or self.rng.random() < 0.5:
            super().operator_deletes()
            return
        # Its candidate must never lead with it, so it is not exempt from any check.
        path = self.rng.choice(waiting).place
        assert isinstance(path, str)
        self.world.note("an operator deletes the entry of a waiting claim")
        self.delete(path, -1)

    def overwrite_first(self) -> None:
        path = self.claims()[0].place
        assert isinstance(path, str)
        node = self.tree[path]
        written = replace(node, data=b"by hand", version=node.version + 1, modified=self.zxid + 1)
        self.commit({**self.tree, path: written})

    def disturb(self, rng: random.Random, seconds: float) -> None:
        """Cut a member off from the others; its clients still reach it."""
        claims = self.claims()
        there = self.moved.get(claims[0].session) if claims else None
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

    def repair(self) -> None:
        for member in self.members:
            member.back()
