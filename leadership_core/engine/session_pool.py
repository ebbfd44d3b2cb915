"""The sessions of one store, and which candidate uses which.

Candidates with the same ttl share one, also those for the same key: one of them at a time has a claim
(`key_queue`). A session enters a key once: while an orphaned claim of the key may be bound to it,
candidates for that key get another session.
"""

from __future__ import annotations

from collections.abc import Callable

from ..backend.protocols import Claim, Election, Session
from . import messages
from .claim_reaper import ClaimReaper
from .context import EngineContext
from .session_keeper import SessionKeeper, SessionUser

__all__ = ["SessionPool"]


class SessionPool:
    """Opens sessions as candidates need them; used in the scheduler's thread only.

    Args:
        context: whose store, scheduler and threads to use.

    Attributes:
        all: every session that something may be left of, also those that are being closed.
    """

    def __init__(self, context: EngineContext) -> None:
        self.all: set[SessionKeeper] = set()
        self._context = context
        self._open: dict[tuple[float, float | None], list[SessionKeeper]] = {}

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
        keeper.users[user] = None
        if keeper.ready:
            user.handle(messages.SessionReady(keeper.lease))
        return keeper

    def release(self, user: SessionUser, keeper: SessionKeeper) -> None:
        """Note that the user does not need the session any more; its last user closes it."""
        keeper.users.pop(user, None)
        if not keeper.users:
            self.close(keeper)

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

    def _retire(self, keeper: SessionKeeper) -> None:
        """Give the session to no further user."""
        for key, group in list(self._open.items()):
            if keeper in group:
                group.remove(keeper)
                if not group:
                    del self._open[key]
