"""A claim in a ZooKeeper election: its sequential node, and the nodes before it in the queue.

See https://zookeeper.apache.org/doc/current/recipes.html#sc_leaderElection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from leadership_core.backend import Claim

from .recipe import KAZOO, Recipe
from .session import ZooKeeperSession

__all__ = ["ZooKeeperClaim"]

_LAST = 2**31 - 1  # sequence number


@dataclass(eq=False)
class ZooKeeperClaim(Claim):
    """A claim, and what is known of its node.

    Attributes:
        recipe: of its election.
        prefix: unique beginning of its node's name.
        path: of the node; None until it is known.
        predecessors: the claims before it at the last read, the nearest last; None if unknown.
            No claim can join them: new claims come after it.
        was_leading: it was reported as leading.
        withdrawing: `withdraw` was called.
        withdrawn: its node was confirmed to be gone.
        listeners: called when its status may have changed.
        watched: the paths of the nodes that its status depends on.
        watches_folder: changes of the folder's children are reported to `ForeignNodes`.
    """

    recipe: Recipe = KAZOO
    prefix: str = ""
    path: str | None = None
    predecessors: list[str] | None = None
    was_leading: bool = False
    withdrawing: bool = False
    withdrawn: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)
    watched: tuple[str, ...] = ()
    watches_folder: bool = False
    _deleted: tuple[str, object] | None = None  # reported last: path and connection
    _own: object = field(default_factory=object)  # replaced when its own node may have changed
    _confirmed: tuple[object, object] | None = None  # `moment` of the last read of its node

    def __post_init__(self) -> None:
        self.prefix = self.prefix or self.recipe.new_prefix()

    @classmethod
    def of(cls, claim: Claim) -> ZooKeeperClaim:
        """Check the type of a claim.

        Raises:
            TypeError: it belongs to another kind of store.
        """
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of a ZooKeeper election: {claim!r}")
        return claim

    @property
    def owner(self) -> ZooKeeperSession:
        """The session that its node is bound to."""
        return ZooKeeperSession.of(self.session)

    @property
    def _folder(self) -> str:
        return (self.path or "").rpartition("/")[0]

    @property
    def has_reliable_sequence(self) -> bool:
        """Whether the number of its node tells which claims were created before it.

        After the last number ZooKeeper repeats it, or gives a negative one and then the last one
        again (observed with 3.9.3), so none of these tells the order.
        """
        number = self.recipe.sequence(self.path or "")
        return number is not None and 0 <= number < _LAST

    def set_node(self, folder: str, name: str, token: int) -> None:
        """Record the node that was created for it.

        Args:
            folder: the path of the election's node.
            name: of the claim's node.
            token: the id of the transaction that created it.
        """
        self.path = f"{folder}/{name}"
        self.token: int | None = token

    def creation(self, folder: str) -> Callable[[Any], Any]:
        """Request the creation of its node; the answer contains the stat, too."""
        return lambda kazoo: kazoo.create_async(
            f"{folder}/{self.prefix}",
            self.value,
            ephemeral=True,
            sequence=True,
            include_data=True,
        )

    def is_created_by(self, folder: str, answer: tuple[str, Any]) -> bool:
        """Whether an answer to `creation` describes its node, and not another one."""
        path, stat = answer
        below = path.startswith(f"{folder}/{self.prefix}") and "/" not in path[len(folder) + 1 :]
        return bool(below and stat.czxid > 0 and stat.ephemeralOwner == self.owner.number)

    def is_stat_of(self, stat: Any) -> bool:
        """Whether a stat is that of its node."""
        # No two nodes were created by one transaction, and a node never changes its owner.
        return bool(stat.czxid == self.token)

    def path_if_first(self, folder: str) -> str:
        """The path of its node if that is the first child of a new folder."""
        return f"{folder}/{self.prefix}{0:010}"

    def watch_beforehand(self, path: str) -> Callable[[Any], None]:
        """Subscribe to changes of its node before it is created, and before there are listeners.

        Until there is one, a change is only noted: see `is_covered`.
        """
        self.owner.dispatcher.subscribe(self.on_node_changed, path)
        self.watched += (path,)
        return self.owner.dispatcher.on_event

    def settle_watch(self) -> None:
        """Drop the subscription of `watch_beforehand`, unless it serves a later `watch_claim`."""
        if not self.listeners and (self.withdrawn or not self.is_covered):
            self.watch()

    @property
    def is_covered(self) -> bool:
        """Whether it was granted, and its node was read and watched since, without a report of a change."""
        return self.was_leading and self.path in self.watched and self._confirmed == self.moment()

    def predecessors_among(self, names: Iterable[str]) -> list[str] | None:
        """The claims before it, the nearest last; None if its own node is not among the names."""
        return self.recipe.predecessors_of((self.path or "").rpartition("/")[2], names)

    def known_predecessors(self) -> list[str] | None:
        """The claims that may still be before it; None if the queue must be read again."""
        before = self.predecessors
        if not before or not self._is_reported_gone(before[-1]):
            return before
        # The nearest is gone, and stays gone, since no two nodes have one name. Mostly it was the leader,
        # so all others are gone, too, which reading the queue tells at once.
        return [] if len(before) == 1 else None

    def _is_reported_gone(self, name: str) -> bool:
        """Whether the present connection has reported that a node before it was deleted.

        The report of an earlier connection does not count. kazoo does not remember its state, so
        the next server may be one that lags behind it, and still shows its own node, which was
        deleted before the other one.
        """
        return self._deleted == (f"{self._folder}/{name}", self.owner.client.connection)

    @property
    def is_reported_first(self) -> bool:
        """Whether reports alone prove that it leads; no request is needed then.

        All of these came on one connection, which delivers answers and reports in the order of the
        transactions: its own node was read, and is watched since; nothing was reported about it; and
        the only node before it was deleted. So its own node existed when the other one was deleted.
        """
        return (
            self.predecessors is not None
            and len(self.predecessors) == 1
            and self._is_reported_gone(self.predecessors[0])
            and self._confirmed == self.moment()
        )

    def moment(self) -> tuple[object, object]:
        """The connection, and what was reported about its own node; equal as long as there is no change."""
        return self.owner.client.connection, self._own

    def confirm(self, before: tuple[object, object]) -> None:
        """Note that its node was read unchanged, and is watched since.

        Args:
            before: the `moment` before the read was requested.
        """
        # If the connection is still the same, the answer came on it. A report that came meanwhile
        # may be newer than the answer. A read that sets no watch changes the moment, too.
        self._confirmed = before if before == self.moment() else None

    def watch(self, *paths: str) -> Callable[[Any], None] | None:
        """Subscribe to changes of these nodes instead of earlier ones, if there are listeners.

        Returns:
            The function for ZooKeeper's watches of the nodes.
        """
        dispatcher = self.owner.dispatcher
        wanted = paths if self.listeners else ()
        dispatcher.unsubscribe(self.on_node_changed, *(p for p in self.watched if p not in wanted))
        for path in wanted:
            dispatcher.subscribe(self.on_node_changed, path)  # once, however often it is called
        self.watched = wanted
        if not wanted:
            self._own = object()  # from now on its changes are not reported
        return dispatcher.on_event if wanted else None

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Stop calling a listener; without any, its nodes are not watched any more."""
        if listener in self.listeners:
            self.listeners.remove(listener)
        if not self.listeners:
            self.watch()

    def on_node_changed(self, path: str | None, deleted: bool) -> None:
        """Its own node or a predecessor changed; without a path, any of them may have."""
        if path is None or path == self.path:
            self._own = object()
        elif deleted:
            # This thread is the one that replaces `connection`.
            self._deleted = (path, self.owner.client.connection)
        for listener in list(self.listeners):
            listener()
