"""Reachability of the store, as one candidate knows it.

Renewals may succeed while requests for the key fail, for lack of a permission for example. So each
way to the store is noted by itself, and the store is up when it is up on all of them. A free key may be
read where no claim can be made, so that answer is none of the way of the claims.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Reachability", "Way"]

Way: TypeAlias = Literal["session", "claim"]
"""A kind of requests: the renewals of the session, or those for the claim."""


class Reachability:
    """The ways to the store that give no usable answers."""

    __slots__ = ("_down",)

    def __init__(self) -> None:
        self._down: tuple[Way, ...] = ()  # an empty set for each candidate would be larger

    @property
    def is_down(self) -> bool:
        """Whether one of the ways gives no usable answers."""
        return bool(self._down)

    def note_failure(self, way: Way) -> bool:
        """Note a request without an answer; True if the store is down from now on."""
        was_up = not self._down
        if way not in self._down:
            self._down = (*self._down, way)
        return was_up

    def note_answer(self, way: Way) -> bool:
        """Note an answer; True if the store is up again from now on."""
        if not self._down:
            return False
        self._down = tuple(one for one in self._down if one != way)
        return not self._down
