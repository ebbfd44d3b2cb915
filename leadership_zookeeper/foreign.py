"""Warnings about nodes in an election's folder that belong to another recipe, or to no session.

Candidates with different recipes below one path do not exclude each other: each recipe has a leader
of its own. So each such node is reported in a warning, once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from leadership_core.backend import RateLimiter, one_line

from .claim import ZooKeeperClaim
from .client import Client
from .nodes import NO_SESSION, exists, get_children
from .recipe import RECIPES, Recipe

__all__ = ["ForeignNodes"]

log: logging.Logger = logging.getLogger(__name__)

_SEQUENTIAL = re.compile(r"(?<!\d)-?\d{10}$", re.ASCII)
_KNOWN_RECIPES = ("_c_", "latch-", "lock-", "__lock__", "__rlock__", "__READ__", "__WRIT__")
_MOST_WARNINGS = 20  # of one election: other candidates may come and go without end
_MAX_NAME = 300  # characters in a log message
# Lists of the children that a leader reads because a node has come or gone.
_BURST, _RATE = 16.0, 1 / 15.0


class ForeignNodes:
    """The nodes of other recipes in one election's folder; thread-safe, and never blocks.

    A node is reported if its name ends with a sequence number, and if it is bound to a session or
    named as a known recipe names its nodes. Other children may be entries of the user, or elections
    with a longer key.

    Args:
        key: of the election.
        folder: the path of its node.
        recipe: of its candidates.
    """

    def __init__(self, key: str, folder: str, recipe: Recipe) -> None:
        self._key = key
        self._folder = folder
        self._recipe = recipe
        # Not sets: most elections have none of these, and there may be thousands of elections.
        self._noted: tuple[str, ...] = ()
        self._unbound: tuple[str, ...] = ()  # claims without a session that were reported
        self._limiter = RateLimiter(_BURST, _RATE)

    def note(self, names: Iterable[str], client: Client) -> None:
        """Report those among the children of the folder that have not been reported yet."""
        infix = self._recipe.infix
        for name in names:
            if infix in name and self._recipe.sequence(name) is not None:
                continue
            if name in self._noted or not _SEQUENTIAL.search(name):
                continue
            if len(self._noted) == _MOST_WARNINGS:
                return
            self._noted += (name,)
            (pending,) = client.post(exists(f"{self._folder}/{name}"))
            pending.rawlink(partial(self._on_stat, name))

    def note_predecessor(self, name: str, owner: int) -> None:
        """Report a claim before another one if it is bound to no session, so that nothing ends it."""
        if owner not in NO_SESSION or name in self._unbound:
            return
        self._unbound += (name,)
        log.warning(
            "the node %s is not bound to a session, and is in the queue of the election %r: when it "
            "is first, no candidate can lead until it is deleted; delete it if it was left behind",
            one_line(f"{self._folder}/{name}", _MAX_NAME),
            self._key,
        )

    def watch_beside(self, claim: ZooKeeperClaim) -> None:
        """Note the children now, and whenever one comes or goes, as long as the claim leads."""
        client = claim.owner.client
        leads = claim.was_leading and not claim.withdrawing
        ended = not leads or not claim.listeners or client.closed
        if ended or claim.watches_folder or self._limiter.delay() > 0:
            return
        self._limiter.consume()
        on_event = self.watch_of(claim)

        def on_names(pending: Any) -> None:
            if pending.successful():
                self.note(pending.value, client)
            else:
                claim.watches_folder = False

        # A change of the connection calls the function, too, and ends the watch.
        (pending,) = client.post(get_children(self._folder, on_event))
        pending.rawlink(on_names)

    def watch_of(self, claim: ZooKeeperClaim) -> Callable[[Any], None]:
        """The function for the watch of a list that is about to be requested for the claim.

        The caller notes the names, and resets `claim.watches_folder` if there is no list.
        """
        claim.watches_folder = True
        return _ChildrenWatch(self, claim)

    def _forget(self, name: str) -> None:
        self._noted = tuple(one for one in self._noted if one != name)

    def _on_stat(self, name: str, pending: Any) -> None:
        if not pending.successful():
            self._forget(name)  # it is read again if it is seen again
            return
        stat = pending.value
        if stat is None:
            self._forget(name)
            return
        known = name.startswith(_KNOWN_RECIPES) or any(one in name for one in _KNOWN_RECIPES[1:])
        if stat.ephemeralOwner in NO_SESSION and not known:
            return
        log.warning(
            "the node %s is none of a candidate of the election %r with the recipe %r, but looks "
            "like one of %s: elections with different recipes do not exclude each other, so there "
            "may be a second leader; %s",
            one_line(f"{self._folder}/{name}", _MAX_NAME),
            self._key,
            self._recipe.name,
            *_owner_and_cure(name),
        )


class _ChildrenWatch:
    """The function of a watch: the children have changed, or the connection has."""

    __slots__ = ("_claim", "_nodes")  # small: there is one for each election of a process

    def __init__(self, nodes: ForeignNodes, claim: ZooKeeperClaim) -> None:
        self._nodes, self._claim = nodes, claim

    def __call__(self, _: Any) -> None:
        self._claim.watches_folder = False
        self._nodes.watch_beside(self._claim)


def _owner_and_cure(name: str) -> tuple[str, str]:
    """Which recipe a node seems to belong to, and what to do."""
    for recipe in RECIPES.values():
        if recipe.sequence(name) is not None:
            cure = f"open all stores with the same ?recipe={recipe.name}, or use another key"
            return recipe.client, cure
    return "another recipe", "use another key, or another path there"
