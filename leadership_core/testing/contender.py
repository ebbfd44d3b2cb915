"""A program that stands in one race, with a store's own election and nothing above it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..clock import now
from ..handle import StoreHandle
from ..session import Closable, Session
from ..store import Absent, Claim, Leading, Standing, Waiting
from . import heard
from .lab import Lab

__all__ = ["Contender"]


class Contender:
    """One session in one race; it does what the engine does, and as little.

    Args:
        lab: where; at its end the session is closed.
        key: the race.
        value: what followers see.
        store: the connection; one of its own if it is left out.
        session: the session; one of its own that does not expire if it is left out.
    """

    def __init__(
        self,
        lab: Lab,
        key: str,
        value: bytes = b"contender",
        *,
        store: StoreHandle | None = None,
        session: Session | None = None,
    ) -> None:
        self.lab = lab
        self.store = store or lab.open()
        self.session = session or lab.session(self.store)
        self.election = self.store.election(key)
        self.value = value
        self.token = 0
        self._woken = threading.Event()
        self._watch: Closable | None = None
        self._claim: Claim | None = None

    @property
    def claim(self) -> Claim:
        """Its latest."""
        assert self._claim is not None, "it has not entered"
        return self._claim

    def enter(self) -> Claim:
        """Stand in the race, and hear of changes."""
        self._claim = self.election.enter(self.session, self.value)
        if self._watch is not None:
            self._watch.close()
        watch = self._watch = self.election.on_turn(self._claim, self._woken.set)
        self.lab.at_end(watch.close)
        return self._claim

    def standing(self) -> Standing:
        """How its claim stands now."""
        return self.election.standing(self.claim)

    def leads(self, within: float | None = None) -> bool:
        """Stand until it leads; False if it does not in time. Polls only where it must.

        Keeps the token of the term.
        """
        until = now() + (heard.PATIENCE if within is None else within)
        standing = self._enter_and_ask() if self._claim is None else self.standing()
        while not isinstance(standing, Leading):
            if (left := until - now()) <= 0:
                return False
            if isinstance(standing, Absent):
                self._woken.wait(min(left, 0.02))
                standing = self._enter_and_ask()
                continue
            # One that nobody has told of what it read must ask again; the others are woken.
            self._woken.wait(left if standing.watched else min(left, 0.05))
            standing = self._ask()
        self.token = standing.token
        return True

    def waits(self) -> bool:
        """Stand, and say whether another one leads."""
        standing = self._enter_and_ask() if self._claim is None else self.standing()
        return isinstance(standing, Waiting)

    def is_woken(self, by: Callable[[], object]) -> bool:
        """Do something, and wait until it was told that its standing may have changed."""
        self._woken.clear()
        by()
        return self._woken.wait(heard.PATIENCE)

    def withdraw(self) -> None:
        """Take its claim out of the race."""
        self.election.withdraw(self.claim)

    def _enter_and_ask(self) -> Standing:
        claim = self.enter()
        if claim.granted and claim.token is not None:
            return Leading(claim.token)
        return self._ask()

    def _ask(self) -> Standing:
        self._woken.clear()
        return self.standing()
