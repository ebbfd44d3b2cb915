"""Recipes of elections: the names that candidates give their nodes, and the order of these.

Each recipe is a queue of sequential ephemeral nodes below one node. They differ in the names, so
candidates with different recipes do not exclude each other.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["CURATOR_LATCH", "CURATOR_SELECTOR", "KAZOO", "RECIPES", "Recipe"]

# Sequence numbers are ZooKeeper's signed 32-bit numbers.
_MODULUS, _HALF = 2**32, 2**31


@dataclass(frozen=True, slots=True)
class Recipe:
    """The names of one recipe's nodes.

    Attributes:
        name: the value of the URL's option `recipe`.
        infix: what precedes the sequence number in the name of a claim.
        client: the names of the recipe's classes in its own client, for messages.
        by_text: whether its other clients sort the numbers as text, so that negative ones come first.
    """

    name: str
    infix: str
    client: str
    by_text: bool = False
    _claim: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = re.compile(rf"{re.escape(self.infix)}(-?\d{{10}})$", re.ASCII)
        object.__setattr__(self, "_claim", pattern)  # the way to set a field of a frozen object

    def new_prefix(self) -> str:
        """A unique beginning of a node's name; ZooKeeper appends the sequence number.

        A candidate that got no answer to the creation of its node finds it by this.
        """
        if self is KAZOO:
            return f"{uuid.uuid4().hex}{self.infix}"
        return f"_c_{uuid.uuid4()}-{self.infix}"  # as Curator's "protected" nodes

    def sequence(self, name: str) -> int | None:
        """The sequence number in the name of a claim; None for other nodes."""
        match = self._claim.search(name)
        return None if match is None else int(match[1])

    def distance(self, number: int, own: int) -> int:
        """Negative if that sequence number is before the other one in the queue, 0 if it is equal.

        Some releases of ZooKeeper continue below zero after 2,147,483,647, so numbers are compared
        modulo 2^32, unless the recipe's other clients do not.
        """
        if self.by_text:
            return _position_as_text(number) - _position_as_text(own)
        return (number - own + _HALF) % _MODULUS - _HALF

    def sorted_claims(self, names: Iterable[str]) -> list[str]:
        """The claims among the children of an election's node, in the order of the queue."""
        numbers = {name: number for name in names if (number := self.sequence(name)) is not None}
        if not numbers:
            return []
        one = next(iter(numbers.values()))
        return sorted(numbers, key=lambda name: (self.distance(numbers[name], one), name))

    def first_claim(self, names: Iterable[str]) -> str | None:
        """The leading claim among the children of an election's node."""
        return next(iter(self.sorted_claims(names)), None)

    def predecessors_of(self, own: str, names: Iterable[str]) -> list[str] | None:
        """The claims before one of them, the nearest last; None if that is not among the names."""
        own_number = self.sequence(own)
        assert own_number is not None
        # A claim that is woken mostly has few predecessors, so only these are sorted.
        before, found = [], False
        for name in names:
            match = self._claim.search(name)
            if name == own:
                found = True
            elif match is not None:
                distance = self.distance(int(match[1]), own_number)
                if (distance, name) < (0, own):
                    before.append((distance, name))
        return [name for _, name in sorted(before)] if found else None


KAZOO = Recipe("kazoo", "__lock__", "kazoo's Election and Lock")
CURATOR_LATCH = Recipe("curator-latch", "latch-", "Curator's LeaderLatch", by_text=True)
CURATOR_SELECTOR = Recipe(
    "curator-selector", "lock-", "Curator's LeaderSelector and InterProcessMutex", by_text=True
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (KAZOO, CURATOR_LATCH, CURATOR_SELECTOR)
}
"""All recipes, by the value of the option."""


def _position_as_text(number: int) -> int:
    return number if number >= 0 else -number - _MODULUS
