"""The race for one key, as kazoo's `Election` and `Lock` run it.

Each candidate has an ephemeral node with a sequence number below the key; the lowest leads,
and each one watches the one before it, so that a handover is one write and wakes one candidate.
The token is the id of the transaction that made the node: it grows over all of ZooKeeper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from kazoo.exceptions import BadVersionError, NoNodeError, NotEmptyError

from leadership_core.budget import budget, remaining_budget
from leadership_core.delivery import WatchDelivery
from leadership_core.errors import ClaimUnknown, NotDone, StoreUnavailable
from leadership_core.fork import inert_in_child
from leadership_core.store import (
    Absent,
    Claim,
    Closable,
    Leader,
    Leading,
    Session,
    Standing,
    Waiting,
)
from leadership_core.text import one_line

from .claim import ZooKeeperClaim
from .errors import is_definite, no_sense
from .nodes import Nodes, check_size, children, delete, make_folders, path_of, read
from .watch import Watcher

__all__ = ["ZooKeeperElection"]

log = logging.getLogger(__name__)

_TRIES = 5
_PERMANENT = {0, -(2**63)}
"""The owner of a persistent node, and of a container."""
_LONGEST_NAME = 300  # characters


@inert_in_child("enter", "standing", "withdraw", "on_turn", "clean_up", "leader", "watch_leader")
class ZooKeeperElection:
    """One race; see `leadership_core.store.Election`.

    Args:
        nodes: of the store's own client, for those who only look.
        watcher: likewise.
        key: the election's.
    """

    def __init__(self, nodes: Nodes, watcher: Watcher, key: str) -> None:
        self._nodes = nodes
        self._watcher = watcher
        self._key = key
        self._folder = path_of(key)
        self._reported: set[str] = set()  # nodes that go with no session

    # -- standing ----------------------------------------------------------------------------

    def enter(self, session: Session, value: bytes) -> ZooKeeperClaim:
        check_size(self._key, value)
        claim = ZooKeeperClaim(self._key, session, value)
        link = claim.owner.usable_link
        doing = f"enter {self._key!r}"
        for _ in range(_TRIES):
            # Both at once: the list is read after the node was made, as it was then or later.
            made, listed = link.send(self._creation(claim), children(self._folder))
            try:
                with _share():
                    answer = link.answer(made, doing)
                _check_made(claim, self._folder, answer)
            except StoreUnavailable as error:
                if is_definite(error):
                    raise
                self._read_back(claim, error)
                if claim.tells_order:
                    return claim
                claim = self._begin_anew(claim)
                continue
            if isinstance(answer, NoNodeError):
                make_folders(link, self._folder)
                continue
            if isinstance(answer, Exception):
                raise NotDone(f"cannot {doing}: {answer!r}") from answer
            path, stat = answer
            claim.stand(self._folder, path.rpartition("/")[2], stat.czxid)
            if claim.tells_order:
                self._grant(claim, listed)
                return claim
            claim = self._begin_anew(claim)
        raise NotDone(f"cannot {doing}: its folder is deleted as soon as it is made")

    def _creation(self, claim: ZooKeeperClaim) -> Callable[[Any], Any]:
        return lambda client: client.create_async(
            f"{self._folder}/{claim.prefix}",
            claim.value,
            ephemeral=True,
            sequence=True,
            include_data=True,
        )

    def _grant(self, claim: ZooKeeperClaim, listed: Any) -> None:
        try:
            names = claim.owner.usable_link.answer(listed, f"list {self._key!r}")
        except StoreUnavailable:
            return  # it is in the race, and `standing` will tell the rest
        if not isinstance(names, Exception):
            claim.ahead = claim.rank(names)
            claim.granted = claim.led = claim.ahead == []

    def _begin_anew(self, claim: ZooKeeperClaim) -> ZooKeeperClaim:
        """Take out a claim whose number is of no use, and the folder with it; return the next one.

        Where the folder is made again, its numbers begin at 0. No claim is in it then.
        """
        try:
            with _share():
                self.withdraw(claim)
                (answer,) = claim.owner.usable_link.ask(
                    f"begin {self._key!r} anew", delete(self._folder)
                )
        except StoreUnavailable as error:
            if claim.withdrawn:
                raise NotDone(f"{self._key!r} was not entered: {error}") from error
            claim.settled = False
            raise ClaimUnknown(f"no answer to leaving {self._key!r}: {error}", claim) from error
        if isinstance(answer, NotEmptyError):
            raise NotDone(
                f"ZooKeeper has no numbers left for what is below {self._folder}; they begin anew "
                "when it is empty: wait until all who stand there have left, or delete it"
            )
        return ZooKeeperClaim(self._key, claim.session, claim.value)

    def _read_back(self, claim: ZooKeeperClaim, error: StoreUnavailable) -> None:
        """Find out what has become of the request to make the node."""
        claim.settled = False
        try:
            found = self._find(claim)
        except StoreUnavailable as problem:
            raise ClaimUnknown(
                f"no answer whether {self._key!r} was entered: {problem}", claim
            ) from error
        claim.settled = True
        if not found:
            raise NotDone(f"{self._key!r} was not entered: {error}") from error

    def _find(self, claim: ZooKeeperClaim) -> bool:
        """Look for the node of a claim; False if it is certain that there is and will be none.

        A request that came before on this connection has been served before this one is. One
        that came on an earlier connection has, too, or is refused from now on: ZooKeeper takes
        nothing more from a connection once its session has moved to another. Both are what the
        leader of the ensemble says, so a majority has to confirm that it is one.
        """
        link = claim.owner.usable_link
        (names,) = link.ask_confirmed(f"look into {self._key!r}", children(self._folder))
        if isinstance(names, Exception):
            return False
        name = next((one for one in names if one.startswith(claim.prefix)), None)
        if name is None:
            return False
        (node,) = link.ask(f"read {name!r}", read(f"{self._folder}/{name}"))
        if isinstance(node, Exception) or node[1].ephemeralOwner != claim.owner.number:
            return False
        claim.stand(self._folder, name, node[1].czxid)
        return True

    def standing(self, claim: Claim) -> Standing:
        mine = ZooKeeperClaim.of(claim)
        standing = self._stand(mine)
        if isinstance(standing, Leading):
            mine.led = True
        elif standing == Absent(overwritten=True) and not mine.led:
            # Who has not believed in a claim yet drops it like one that is gone. It is not gone,
            # and would stand before the next one for as long as the session lives.
            self.withdraw(mine)
        return standing

    def _stand(self, mine: ZooKeeperClaim) -> Standing:
        if mine.path is None:
            return Absent()
        ahead = mine.known_ahead()
        while True:
            others, own = self._look(mine, mine.path, ahead)
            if isinstance(own, Exception) or not _is_node_of(mine, own[1]):
                return Absent()
            if own[1].version != 0:
                return Absent(overwritten=True)
            if ahead is None:
                ahead = None if isinstance(others, Exception) else mine.rank(others)
                if ahead is None:
                    return Absent()
                mine.ahead = ahead
                if ahead:
                    continue  # the one before it is not watched yet
            elif ahead and not isinstance(others, Exception):
                self._report_permanent(ahead[-1], others[1])
                return Waiting(watched=bool(mine.wakes))
            elif len(ahead) > 1:
                ahead = None  # it is gone, and those before it may be
                continue
            elif ahead and not mine.led:
                ahead = []  # it is gone, and a majority is to confirm that this one is not
                continue
            mine.ahead = []
            assert mine.token is not None
            return Leading(mine.token, watched=bool(mine.wakes))

    def _look(self, claim: ZooKeeperClaim, path: str, ahead: list[str] | None) -> tuple[Any, Any]:
        """Read the claim before it, or the queue, and then its own node; and watch them.

        In this order: what is before it and gone stays gone, so both answers together are true at
        the moment of the second. The first is None for a claim with nothing before it.

        A claim that may be found to lead for the first time is looked at in what a majority has
        confirmed. For the others an old state is good enough: this session has made the node, and
        is shown nothing older than that. So what is before it and gone, its own node that is gone,
        and one that was written over stay so; and that it has to wait is corrected by the watch.
        """
        link, doing = claim.owner.usable_link, f"look at {self._key!r}"
        ask = link.ask if ahead or claim.led else link.ask_confirmed
        if ahead:
            before = f"{self._folder}/{ahead[-1]}"
            fired = claim.watch(path, before)
            other, own = link.ask(doing, read(before, fired), read(path, fired))
            return other, own
        own_read = read(path, claim.watch(path))
        if ahead is None:
            names, own = ask(doing, children(self._folder), own_read)
            return names, own
        return None, ask(doing, own_read)[0]

    def _report_permanent(self, name: str, stat: Any) -> None:
        """Log that the node next before a claim goes with no session, once for each node."""
        if stat.ephemeralOwner not in _PERMANENT or name in self._reported:
            return
        self._reported.add(name)
        log.warning(
            "the node %s is not bound to a session and stands in the queue of the election %r: when "
            "it is first, no candidate can lead until it is deleted; delete it if it was left behind",
            one_line(f"{self._folder}/{name}", _LONGEST_NAME),
            self._key,
        )

    def on_turn(self, claim: Claim, wake: Callable[[], None]) -> Closable:
        mine = ZooKeeperClaim.of(claim)
        turn = _Turn(mine, wake)
        try:
            # Which sets the watches; and what has changed by now, they will not tell.
            if isinstance(self._stand(mine), Leading if mine.led else Waiting):
                return turn
        except BaseException:
            turn.close()
            raise
        turn()
        return turn

    def withdraw(self, claim: Claim) -> None:
        mine = ZooKeeperClaim.of(claim)
        if mine.withdrawn or (mine.path is None and mine.settled):
            return  # nothing of it is in the race
        if mine.path is not None or self._find(mine):
            assert mine.path is not None
            # By its full name, which no other node has: harmless however late, and however often.
            (answer,) = mine.owner.usable_link.ask(
                f"withdraw from {self._key!r}", delete(mine.path)
            )
            if isinstance(answer, Exception) and not isinstance(answer, NoNodeError):
                raise StoreUnavailable(f"cannot withdraw from {self._key!r}: {answer!r}")
        mine.withdrawn = mine.settled = True

    def clean_up(self) -> None:
        """Delete the folder if nothing is in it, and nothing was written to it.

        Whoever enters meanwhile makes it again. Its numbers begin anew then, which only compare
        claims of one folder; the tokens are ids of ZooKeeper's transactions, and go on to grow.
        """
        node = self._nodes.read(self._folder)
        if node is None or node.data is not None or node.children:
            return
        doing = f"clean up {self._key!r}"
        (answer,) = self._nodes.link.ask(doing, delete(self._folder, node.version))
        if isinstance(answer, Exception) and not isinstance(
            answer, NoNodeError | NotEmptyError | BadVersionError
        ):
            raise StoreUnavailable(f"cannot {doing}: {answer!r}")

    # -- looking on --------------------------------------------------------------------------

    def leader(self) -> Leader | None:
        return self._nodes.leader(self._folder)

    def watch_leader(
        self, on_change: Callable[[Leader | StoreUnavailable | None], None]
    ) -> Closable:
        return self._watcher.watch_leader(self._folder, on_change)


class _Turn:
    """One who wants to know that the standing of a claim may have changed, until it is closed."""

    def __init__(self, claim: ZooKeeperClaim, wake: Callable[[], None]) -> None:
        self._claim = claim
        self._delivery: WatchDelivery[None] = WatchDelivery(lambda _: wake(), self._leave)
        claim.wakes.append(self)

    def __call__(self) -> None:
        self._delivery.publish(None)

    def close(self) -> None:
        """End the calls; see `WatchDelivery.close`."""
        self._delivery.close()

    def _leave(self) -> None:
        if self in self._claim.wakes:
            self._claim.wakes.remove(self)
        if not self._claim.wakes:
            self._claim.watch()


def _is_node_of(claim: ZooKeeperClaim, stat: Any) -> bool:
    # No two nodes were made by one transaction, and a node never changes its owner.
    return bool(stat.czxid == claim.token)


def _check_made(claim: ZooKeeperClaim, folder: str, answer: Any) -> None:
    """Raise `StoreUnavailable` if that says of a claim's node what cannot be."""
    if isinstance(answer, Exception):
        return
    path, stat = answer
    ours = path.startswith(f"{folder}/{claim.prefix}") and "/" not in path[len(folder) + 1 :]
    if not (ours and stat.czxid > 0 and stat.ephemeralOwner == claim.owner.number):
        raise no_sense(f"enter {claim.key!r}", ValueError("it is about another node"))


def _share() -> AbstractContextManager[None]:
    # Half of the time, so that an answer that does not come leaves some to find out.
    return budget(remaining_budget() / 2)
