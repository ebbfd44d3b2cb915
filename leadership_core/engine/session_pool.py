"""The sessions of one store, and which candidate uses which.

Candidates with the same ttl share one, also those for the same key: one of them at a time has a claim
(`key_queue`), or two, of which the second is made with another session. A session enters a key once: while an
orphaned claim of the key may be bound to it, candidates for that key get another session, too.
"""

from __future__ import annotations

from collections.abc import Callable

from ..backend.protocols import Claim, Election, Session
from . import messages
from .claim_reaper import ClaimReaper
from .context import EngineContext
from .second_session import SecondSession
from .session_keeper import SessionKeeper, SessionUser

__all__ = ["SessionPool"]


class SessionPool:
    """Opens sessions as candidates need them; used in the scheduler's thread only.

    Args:
        context: whose store, scheduler and threads to use.
        offer: called with a key whose second place needs a session, when there may be one.

    Attributes:
        all: every session that something may be left of, also those that are being closed.
    """

    def __init__(
        self, context: EngineContext, offer: Callable[[str], None] = lambda _: None
    ) -> None:
        self.all: set[SessionKeeper] = set()
        self._context = context
        self._offer = offer
        self._open: dict[tuple[float, float | None], list[SessionKeeper]] = {}
        self._seconds: dict[tuple[float, float | None], SecondSession] = {}

    def acquire(
        self,
        user: SessionUser,
        key: str,
        requested_ttl: float,
        margin: float | None,
        *,
        waits: bool,
    ) -> SessionKeeper:
        """Let the user share a session; it gets `SessionReady` when the session is ready.

        Args:
            user: the candidate.
            key: of its election.
            requested_ttl: seconds.
            margin: seconds, or None.
            waits: another candidate has the turn for the key. Then a session that cannot enter now is as
                good, such as the one with which that candidate is entering; it is tried when the turn comes.

        Raises:
            RuntimeError: a session needs a thread, and none can be started now.
        """
        group = [
            one for one in self._open.get((requested_ttl, margin), ()) if one.lease.check() is None
        ]
        keeper = next((one for one in group if one.can_enter(key)), None)
        if keeper is None and waits and group:
            keeper = group[0]
        if keeper is None:
            keeper = self._start(requested_ttl, margin)
        keeper.users[user] = None
        if keeper.ready:
            user.handle(messages.SessionReady(keeper.lease))
        return keeper

    def beside(
        self,
        other: object,
        mine: SessionKeeper | None,
        key: str,
        requested_ttl: float,
        margin: float | None,
    ) -> SessionKeeper | None:
        """Find a session that is ready to enter the key beside another claim of this process.

        Args:
            other: the session of that claim, or None.
            mine: what the candidate has.
            key: of the election.
            requested_ttl: seconds.
            margin: seconds, or None.

        Returns:
            None if there is none. Then one is opened, and the second place is offered again later.
        """
        if mine is None or other is None or (mine is not other and mine.can_enter(key)):
            return mine
        group = requested_ttl, margin
        for keeper in self._open.get(group, ()):
            usable = keeper.ready and keeper.failure is None and keeper.can_enter(key)
            if usable and keeper is not other:
                return keeper
        second = self._seconds.get(group)
        if second is not None and second.keeper is not None and second.keeper is other:
            second.end()  # it is the only one by now
            second = None
        if second is None:
            second = self._seconds[group] = SecondSession(
                *(self._context, requested_ttl),
                offer=self._offer,
                on_end=self.release,
                on_over=lambda one: self._forget_second(group, one),
            )
            try:
                keeper = self._start(requested_ttl, margin)
            except RuntimeError:  # no more threads, for now
                second.rest()
            else:
                keeper.users[second] = None
                second.begin(keeper)
        second.note_need(key)
        return None

    def move(self, user: SessionUser, old: SessionKeeper, new: SessionKeeper) -> SessionKeeper:
        """Let the user share another session, which is ready; returns that."""
        new.users[user] = None
        self.release(user, old)
        return new

    def release(self, user: SessionUser, keeper: SessionKeeper) -> None:
        """Note that the user does not need the session any more; its last user closes it."""
        keeper.users.pop(user, None)
        if not keeper.users:
            self.close(keeper)
        for group, second in list(self._seconds.items()):
            if second.is_unused and len(self._open.get(group, ())) <= 1:
                second.end()  # no candidate of that ttl is left

    def close(self, keeper: SessionKeeper) -> None:
        """Close the session, with all claims of its users; does not wait."""
        self._retire(keeper)
        keeper.release()

    def find(self, session: Session) -> SessionKeeper | None:
        """The keeper of that session, if the store has not confirmed its end."""
        mine = (one for one in self.all if one.session is session and not one.confirmed_closed)
        return next(mine, None)

    def reap(
        self,
        keeper: SessionKeeper,
        election: Election,
        claim: Claim,
        on_gone: Callable[[bool], None],
    ) -> None:
        """Withdraw an orphaned claim until it is gone; the arguments are those of `ClaimReaper`."""
        ClaimReaper(self._context, keeper, election, claim, on_gone).run()

    def _start(self, requested_ttl: float, margin: float | None) -> SessionKeeper:
        keeper = SessionKeeper(
            self._context,
            requested_ttl,
            margin,
            on_end=self._retire,
            on_gone=self.all.discard,
        )
        self.all -= {one for one in self.all if one.closed.is_set()}
        self.all.add(keeper)
        try:
            keeper.start()
        except BaseException:
            self.all.discard(keeper)
            raise
        self._open.setdefault((requested_ttl, margin), []).append(keeper)
        return keeper

    def _forget_second(self, group: tuple[float, float | None], second: SecondSession) -> None:
        if self._seconds.get(group) is second:
            del self._seconds[group]

    def _retire(self, keeper: SessionKeeper) -> None:
        """Give the session to no further user."""
        for key, group in list(self._open.items()):
            if keeper in group:
                group.remove(keeper)
                if not group:
                    del self._open[key]
