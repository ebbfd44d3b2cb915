"""The second session: open beside the first one of a ttl, for claims beside those of the leaders.

A session enters a key once, so the candidate that is next needs another one than the leader of its key.
"""

from __future__ import annotations

from collections.abc import Callable

from . import messages
from .context import EngineContext
from .session_keeper import SessionKeeper

__all__ = ["SecondSession"]


class SecondSession:
    """A user of a session that keeps it open for candidates; used in the scheduler's thread only.

    It is one session for all keys. Without candidates it is given up after two ttls at the latest.

    Args:
        context: whose scheduler to use.
        seconds: the ttl; between two tests whether it is used.
        offer: called with each key that it was needed for, when it is ready, and when it may be after a failure.
        on_end: called with this when the session is to be given up.
        on_over: called with this when another one may be opened in its place.

    Attributes:
        keeper: of the session; None before it is opened, and from the end on.
    """

    working = False
    withdrawing = True  # a session may be closed in place of withdrawals, whatever this uses

    def __init__(
        self,
        context: EngineContext,
        seconds: float,
        *,
        offer: Callable[[str], None],
        on_end: Callable[[SecondSession, SessionKeeper], None],
        on_over: Callable[[SecondSession], None],
    ) -> None:
        self.keeper: SessionKeeper | None = None
        self._context = context
        self._begun = context.time_source.now()
        self._seconds = seconds
        self._offer = offer
        self._on_end = on_end
        self._on_over = on_over
        self._keys: dict[str, None] = {}  # that it was needed for

    @property
    def is_unused(self) -> bool:
        """Whether no candidate uses the session."""
        return self.keeper is not None and list(self.keeper.users) == [self]

    def note_need(self, key: str) -> None:
        """Offer the second place of the key later."""
        self._keys[key] = None

    def begin(self, keeper: SessionKeeper) -> None:
        """Keep this session, which is being opened."""
        self.keeper = keeper
        self._context.scheduler.call_later(self._seconds, self._check_use)

    def end(self) -> None:
        """Give the session up, now that it is not needed."""
        self._release()
        self._on_over(self)

    def rest(self) -> None:
        """Give the session up, since it has failed; one is opened in a ttl at most."""
        self._release()
        passed = self._context.time_source.now() - self._begun

        def over() -> None:
            self._on_over(self)
            self._offer_keys()

        self._context.scheduler.call_later(max(0.0, self._seconds - passed), over)

    def handle(self, message: messages.Input) -> None:
        """Take in a report of the session."""
        match message:
            case messages.SessionReady():
                self._offer_keys()
            case messages.LeaseEnded():
                self.rest()
            case _:
                pass

    def _release(self) -> None:
        keeper, self.keeper = self.keeper, None
        if keeper is not None:
            self._on_end(self, keeper)

    def _offer_keys(self) -> None:
        keys, self._keys = self._keys, {}
        for key in keys:
            self._offer(key)

    def _check_use(self) -> None:
        if self.keeper is None:
            return
        if self.is_unused and not self._keys:
            self.end()
        else:
            self._context.scheduler.call_later(self._seconds, self._check_use)
            if self.keeper.ready:
                self._offer_keys()
