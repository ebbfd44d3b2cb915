"""A claim in a race on ZooKeeper: its node, and where that stands in the queue."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from leadership_core.store import Claim

from .session import ZooKeeperSession

__all__ = ["ZooKeeperClaim", "first", "in_order"]

_NAME = re.compile(r"__lock__(-?\d{10})$", re.ASCII)
"""What kazoo takes for a claim, whoever has made it."""

_WORLD, _HALF = 2**32, 2**31
_LAST = 2**31 - 1


def _sequence(name: str) -> int | None:
    match = _NAME.search(name)
    return None if match is None else int(match[1])


def in_order(names: Iterable[str]) -> list[str]:
    """The claims among the children of an election, in the order in which they came.

    The number at the end is ZooKeeper's, of 32 bits. Some releases go on below zero after
    2,147,483,647, so what is near comes in the order of numbers. (Others do not go on at all:
    see `ZooKeeperClaim.tells_order`.)
    """
    numbers = {name: number for name in names if (number := _sequence(name)) is not None}
    if not numbers:
        return []
    one = next(iter(numbers.values()))

    def place(name: str) -> tuple[int, str]:
        return ((numbers[name] - one + _HALF) % _WORLD, name)

    return sorted(numbers, key=place)


def first(names: Iterable[str]) -> str | None:
    """The claim that leads, among the children of an election."""
    return next(iter(in_order(names)), None)


@dataclass(eq=False)
class ZooKeeperClaim(Claim):
    """A claim, and what is known of its node.

    Attributes:
        prefix: how the name of its node begins; nobody else's does.
        path: of the node; None until it is known.
        ahead: the claims before this one when it was looked at last, the nearest last; None if
            that is not known. None comes to be added: who comes later, stands behind.
        led: it was said to lead.
        withdrawn: it was confirmed that it is out of the race.
        wakes: who want to know that its standing may have changed.
        watched: the nodes that matter to that.
    """

    prefix: str = field(default_factory=lambda: f"{uuid.uuid4().hex}__lock__")
    path: str | None = None
    ahead: list[str] | None = None
    led: bool = False
    withdrawn: bool = False
    wakes: list[Callable[[], None]] = field(default_factory=list)
    watched: set[str] = field(default_factory=set)
    _gone: str = ""

    @classmethod
    def of(cls, claim: Claim) -> ZooKeeperClaim:
        if not isinstance(claim, cls):
            raise TypeError(f"not a claim of a ZooKeeper election: {claim!r}")
        return claim

    @property
    def owner(self) -> ZooKeeperSession:
        """The session that holds it."""
        return ZooKeeperSession.of(self.session)

    @property
    def tells_order(self) -> bool:
        """Whether the number of its node says which claims came before it.

        What comes after the last number has the same one, or a negative one and then the last
        one again (run, on 3.9.3): who came first shows in none of them.
        """
        number = _sequence(self.path or "")
        return number is not None and 0 <= number < _LAST

    def stand(self, folder: str, name: str, token: int) -> None:
        """Its node is there."""
        self.path = f"{folder}/{name}"
        self.token = token

    def rank(self, names: Iterable[str]) -> list[str] | None:
        """The claims before it, the nearest last; None if it is not among them itself."""
        own = (self.path or "").rpartition("/")[2]
        here = _sequence(own)
        assert here is not None
        # Whoever is woken has many behind it and few ahead, so only those are put in order.
        ahead, found = [], False
        for name in names:
            match = _NAME.search(name)
            if name == own:
                found = True
            elif match is not None:
                distance = (int(match[1]) - here + _HALF) % _WORLD - _HALF
                if (distance, name) < (0, own):
                    ahead.append((distance, name))
        return [name for _, name in sorted(ahead)] if found else None

    def known_ahead(self) -> list[str] | None:
        """The claims that may still be before it; None if the queue is to be looked at."""
        ahead = self.ahead
        if not ahead or not self._gone.endswith(f"/{ahead[-1]}"):
            return ahead
        # What is gone stays gone, since no two nodes have one name. And most often it has led, so
        # all before it have gone, too, which the queue tells at once.
        return [] if len(ahead) == 1 else None

    def watch(self, *paths: str) -> Callable[[Any], None] | None:
        """Let changes of these nodes wake who wants to know, if somebody does.

        Returns:
            What a watch of ZooKeeper is to call.
        """
        bell = self.owner.bell
        wanted = set(paths) if self.wakes else set()
        bell.take_down(self.stirred, *self.watched - wanted)
        for path in wanted - self.watched:
            bell.hang(self.stirred, path)
        self.watched = wanted
        return bell.fired if wanted else None

    def stirred(self, path: str | None, gone: bool) -> None:
        """A node that matters to it has changed, or all may have."""
        if gone and path is not None:
            self._gone = path
        for wake in list(self.wakes):
            wake()
