"""An election on ZooKeeper, compatible with kazoo's recipes, or with Curator's by an option.

Each candidate creates an ephemeral sequential node below the key's node. The lowest sequence
number leads, and each candidate watches the node before its own, so that a handover is one write
and wakes one candidate. The fencing token is the id of the transaction that created the node,
which grows over the whole ensemble.
See https://zookeeper.apache.org/doc/current/recipes.html#sc_leaderElection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kazoo.exceptions import BadVersionError, NoNodeError, NotEmptyError

from leadership_core.backend import (
    Absent,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Closable,
    Leader,
    Leading,
    NotApplied,
    Session,
    StoreUnavailable,
    Waiting,
    WatchDelivery,
    half_timeout,
    inert_in_child,
)

from .claim import ZooKeeperClaim
from .client import Client
from .entering import Entering
from .errors import is_not_applied, unexpected_response
from .foreign import ForeignNodes
from .nodes import (
    NodeReader,
    check_size,
    delete,
    get_children,
    get_data,
    path_of,
)
from .watch import Watcher

__all__ = ["ZooKeeperElection"]

_TRIES = 5


@inert_in_child(
    "enter",
    "status",
    "known_status",
    "withdraw",
    "watch_claim",
    "clean_up",
    "leader",
    "watch_leader",
)
class ZooKeeperElection:
    """One election; see `leadership_core.backend.protocols.Election`.

    Args:
        nodes: reads for followers.
        watcher: watches for followers.
        key: of the election.
    """

    # A claim's watch is set by a read, and `wake` is called if that shows it without its lead.
    watches_since_enter = orders_claims = True

    def __init__(self, nodes: NodeReader, watcher: Watcher, key: str) -> None:
        self._nodes = nodes
        self._watcher = watcher
        self._key = key
        self._folder = path_of(key)
        self._recipe = nodes.recipe
        self._foreign = ForeignNodes(key, self._folder, self._recipe)
        self._has_folder = False  # its creation was requested, and it was not deleted since

    # -- candidates --------------------------------------------------------------------------

    def enter(self, session: Session, value: bytes) -> ZooKeeperClaim:
        """Create the node of a claim, and grant it if it is the first; see `Election.enter`.

        Two to four requests in one go, and more where the folder's parent is missing. Blocks for
        the remaining timeout at most.

        Args:
            session: of `ZooKeeperStore.open_session`.
            value: of the candidate.

        Raises:
            NotApplied: it has not entered.
            ClaimOutcomeUnknown: it may have entered; the claim must be withdrawn.
            SessionLost: the session has ended.
        """
        check_size(self._key, value)
        claim = ZooKeeperClaim(self._key, session, value, recipe=self._recipe)
        client = claim.owner.usable_client
        doing = f"enter {self._key!r}"
        try:
            for _ in range(_TRIES):
                # The folder is probably missing when its first candidate starts.
                new_folder, self._has_folder = not self._has_folder, True
                entering = Entering(
                    client, claim, self._folder, self._foreign, new_folder=new_folder
                )
                answer = self._created(entering, claim)
                if answer is None:
                    claim.watches_folder = False  # the list may have got no answer, either
                    if claim.has_reliable_sequence:
                        return claim
                    claim = self._restart_sequence(claim)
                    continue
                if isinstance(answer, NoNodeError):
                    self._has_folder = False
                    entering.create_parents()
                    continue
                if isinstance(answer, Exception):
                    raise NotApplied(f"cannot {doing}: {answer!r}") from answer
                path, stat = answer
                claim.set_node(self._folder, path.rpartition("/")[2], stat.czxid)
                if not claim.has_reliable_sequence:
                    claim = self._restart_sequence(claim)
                    continue
                entering.read_queue()
                return claim
        finally:
            claim.settle_watch()
        raise NotApplied(f"cannot {doing}: its folder is deleted as soon as it is created")

    def _created(self, entering: Entering, claim: ZooKeeperClaim) -> Any:
        """Wait for the answer to the creation; None if there was none, and the node was found."""
        doing = f"enter {self._key!r}"
        try:
            with half_timeout():
                answer = claim.owner.usable_client.result(entering.created, doing)
            if not isinstance(answer, Exception) and not claim.is_created_by(self._folder, answer):
                raise unexpected_response(doing, ValueError("it is about another node"))
        except StoreUnavailable as error:
            if is_not_applied(error):
                raise
            self._read_back(claim, error)
            return None
        return answer

    def _restart_sequence(self, claim: ZooKeeperClaim) -> ZooKeeperClaim:
        """Withdraw a claim without a reliable sequence number, and delete the folder.

        The numbers of a new folder start at 0. The old one is deleted only without other claims.

        Returns:
            The next claim, which has not entered yet.
        """
        try:
            with half_timeout():
                self.withdraw(claim)
                (answer,) = claim.owner.usable_client.request(
                    f"restart the sequence numbers of {self._key!r}", delete(self._folder)
                )
        except StoreUnavailable as error:
            if claim.withdrawn:
                raise NotApplied(f"{self._key!r} was not entered: {error}") from error
            claim.settled = False
            raise ClaimOutcomeUnknown(
                f"no answer to leaving {self._key!r}: {error}", claim
            ) from error
        if isinstance(answer, NotEmptyError):
            raise NotApplied(
                f"ZooKeeper has no numbers left for the children of {self._folder}; they restart "
                "when it is empty: wait until all candidates have left, or delete it"
            )
        return ZooKeeperClaim(self._key, claim.session, claim.value, recipe=self._recipe)

    def _read_back(self, claim: ZooKeeperClaim, error: StoreUnavailable) -> None:
        """Find out whether a creation without an answer took effect.

        Raises:
            NotApplied: it did not, and will not.
            ClaimOutcomeUnknown: no answer to that either.
        """
        claim.settled = False
        try:
            found = self._find_node(claim)
        except StoreUnavailable as problem:
            raise ClaimOutcomeUnknown(
                f"no answer whether {self._key!r} was entered: {problem}", claim
            ) from error
        claim.settled = True
        if not found:
            raise NotApplied(f"{self._key!r} was not entered: {error}") from error

    def _find_node(self, claim: ZooKeeperClaim) -> bool:
        """Find the node of a claim; False if there is none, and will be none.

        An earlier request on this connection was served before this one. One on an earlier
        connection was served, too, or will be refused: ZooKeeper accepts no request from a
        connection whose session has moved to another. Both hold for the leader of the ensemble,
        so a quorum check has to prove that it is the leader.
        """
        client = claim.owner.usable_client
        doing = f"read the claims of {self._key!r}"
        (names,) = client.request_linearizable(doing, get_children(self._folder))
        if isinstance(names, Exception):
            return False
        name = next((one for one in names if one.startswith(claim.prefix)), None)
        if name is None:
            return False
        (node,) = client.request(f"read {name!r}", get_data(f"{self._folder}/{name}"))
        if isinstance(node, Exception) or node[1].ephemeralOwner != claim.owner.number:
            return False
        claim.set_node(self._folder, name, node[1].czxid)
        return True

    def status(self, claim: Claim) -> ClaimStatus:
        """Read whether a claim leads; see `Election.status`.

        It leads if there was a state of the ensemble with its node, and with none before it. Its
        session observes all states in one order, so such a state is found without a transaction,
        and without a request if the watch of its only predecessor has reported the end of that.
        """
        mine = ZooKeeperClaim.of(claim)
        status = self.known_status(mine) or self._read_status(mine)
        if isinstance(status, Leading):
            mine.was_leading = True
            self._foreign.watch_beside(mine)
        elif status == Absent(overwritten=True) and not mine.was_leading:
            # A candidate that has never led drops such a claim like one that is gone. But its node
            # exists, and would precede the candidate's next claim as long as the session lives.
            self.withdraw(mine)
        return status

    def known_status(self, claim: Claim) -> Leading | None:
        """The status that reports of the watches prove, without a request; None if it has to be read.

        Never blocks, so the thread of the watches may call it.
        """
        mine = ZooKeeperClaim.of(claim)
        if not (mine.owner.client.connected and mine.is_reported_first):
            return None
        mine.was_leading = True
        self._foreign.watch_beside(mine)
        return self._is_first(mine)

    def _read_status(self, mine: ZooKeeperClaim) -> ClaimStatus:
        if mine.path is None:
            return Absent()
        before = mine.known_predecessors()
        while True:
            moment = mine.moment()
            other, own = self._read_queue(mine, mine.path, before)
            if isinstance(own, Exception) or not mine.is_stat_of(own[1]):
                return Absent()
            if own[1].version != 0:
                return Absent(overwritten=True)
            mine.confirm(moment)
            if before is None:
                before = None if isinstance(other, Exception) else mine.predecessors_among(other)
                if before is None:
                    return Absent()
                mine.predecessors = before
                if before:
                    continue  # the nearest predecessor is not watched yet
            elif before and not isinstance(other, Exception):
                self._foreign.note_predecessor(before[-1], other[1].ephemeralOwner)
                return Waiting(watched=bool(mine.listeners))
            elif len(before) > 1:
                before = None  # the nearest one is gone, and the others may be
                continue
            elif not before and (known := mine.known_predecessors()):
                before = known  # it was reported gone on a connection that has broken since
                continue
            return self._is_first(mine)

    def _is_first(self, mine: ZooKeeperClaim) -> Leading:
        mine.predecessors = []
        mine.watch(*(p for p in mine.watched if p == mine.path))  # not the node that was before it
        assert mine.token is not None
        return Leading(mine.token, watched=bool(mine.listeners))

    def _read_queue(
        self, claim: ZooKeeperClaim, path: str, before: list[str] | None
    ) -> tuple[Any, Any]:
        """Read the nearest predecessor, or the queue, and then the claim's own node; watch them.

        In this order: a predecessor that is gone stays gone, so both answers are true at the time
        of the second. The first is None for a claim without predecessors.

        An old state suffices: this session has created the node, and observes nothing older than
        that. So a predecessor that is gone, and an own node that is gone or overwritten, stay so; and
        a claim that no longer has to wait is notified by its watch.
        """
        client, doing = claim.owner.usable_client, f"read the status of {self._key!r}"
        if before:
            nearest = f"{self._folder}/{before[-1]}"
            on_event = claim.watch(path, nearest)
            other, own = client.request(
                doing, get_data(nearest, on_event), get_data(path, on_event)
            )
            return other, own
        own_read = get_data(path, claim.watch(path))
        if before is None:
            names, own = client.request(doing, get_children(self._folder), own_read)
            return names, own
        return None, client.request(doing, own_read)[0]

    def watch_claim(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        """Call `wake` after changes of the claim's node or its predecessor; see `Election`."""
        mine = ZooKeeperClaim.of(claim)
        watch = _ClaimWatch(mine, wake)
        try:
            if mine.is_covered:
                self._foreign.watch_beside(mine)
                return watch
            # This sets the watches, which do not report what has changed before.
            status = self._read_status(mine)
            if isinstance(status, Leading):
                self._foreign.watch_beside(mine)  # no call of `status` may follow
            if isinstance(status, Leading if mine.was_leading else Waiting):
                return watch
        except BaseException:
            watch.close()
            raise
        watch()
        return watch

    def withdraw(self, claim: Claim) -> None:
        """Delete the node of a claim, and confirm that it has none; idempotent.

        Raises:
            StoreUnavailable: that is not confirmed; may be repeated.
            SessionLost: the session has ended, and the node with it.
        """
        mine = ZooKeeperClaim.of(claim)
        if mine.withdrawn or (mine.path is None and mine.settled):
            return  # it has no node
        mine.withdrawing = True
        if mine.path is not None or self._find_node(mine):
            assert mine.path is not None
            # No other node ever has this name, so a late or repeated request does no harm.
            (answer,) = mine.owner.usable_client.request(
                f"withdraw from {self._key!r}", delete(mine.path)
            )
            if isinstance(answer, Exception) and not isinstance(answer, NoNodeError):
                raise StoreUnavailable(f"cannot withdraw from {self._key!r}: {answer!r}")
        mine.withdrawn = mine.settled = True
        mine.settle_watch()

    def clean_up(self) -> None:
        """Delete the folder if it has no children and no data.

        A candidate that enters meanwhile creates it again. Its numbers start at 0 then, which
        compare only claims of one folder; the tokens, ids of transactions, continue to grow.
        """
        node = self._nodes.read(self._folder)
        if node is None or node.data is not None or node.child_count:
            return
        self._has_folder = False
        doing = f"clean up {self._key!r}"
        (answer,) = self._nodes.client.request(doing, delete(self._folder, node.version))
        if isinstance(answer, Exception) and not isinstance(
            answer, NoNodeError | NotEmptyError | BadVersionError
        ):
            raise StoreUnavailable(f"cannot {doing}: {answer!r}")

    # -- followers ---------------------------------------------------------------------------

    def leader(self) -> Leader | None:
        return self._nodes.read_leader(self._folder)

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        def first_claim(names: list[str], client: Client) -> str | None:
            self._foreign.note(names, client)
            return self._recipe.first_claim(names)

        return self._watcher.watch_leader(self._folder, first_claim, on_change)


class _ClaimWatch:
    """A listener of a claim, until it is closed."""

    def __init__(self, claim: ZooKeeperClaim, wake: Callable[[], None]) -> None:
        self._delivery: WatchDelivery[None] = WatchDelivery(
            lambda _: wake(), lambda: claim.remove_listener(self)
        )
        claim.listeners.append(self)

    def __call__(self) -> None:
        self._delivery.publish(None)

    def close(self) -> None:
        """Stop calling the listener; see `WatchDelivery.close`."""
        self._delivery.close()
