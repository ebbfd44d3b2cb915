"""What the engine and the candidate know and do about one term, behind the user's `Term`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .eventcount import EventCount

if TYPE_CHECKING:
    from .lease import Lease, LostReason

__all__ = ["TermState"]


class TermState:
    """The state of a term; any thread, and a signal handler, may call all of it.

    Attributes:
        key: the election's key, without the prefix of the store's URL.
        token: the fencing token.
        lease: what it rests on.
        renew: `LeasedSession.renew_now`.
        over: notified when the term has ended.
        ended: the candidate has ended it, or the engine has; its lease may go on.
        resigned: the program has ended it, by `resign`, `stop`, `close`, or by returning.
        reason: why it was lost, if the engine says so.
        released: what came of the release, once that is known.
    """

    __slots__ = (
        "_drained",
        "_ended_by_engine",
        "_workers",
        "ended",
        "key",
        "lease",
        "over",
        "reason",
        "released",
        "renew",
        "resigned",
        "token",
    )

    def __init__(
        self, key: str, token: int, lease: Lease, renew: Callable[[float, float], None]
    ) -> None:
        self.key = key
        self.token = token
        self.lease = lease
        self.renew = renew
        self.over = EventCount()
        self.ended = False
        self.resigned = False
        self.reason: LostReason | None = None
        self.released: bool | None = None
        self._workers: set[int] = set()  # threads
        self._ended_by_engine = False
        self._drained = [None]  # whoever pops it reports that no work is left: exactly one does

    def stands(self) -> bool:
        """Whether the term is not over at this moment."""
        return not self.ended and self.lease.holds()

    def resign(self) -> None:
        """End it here and now, by the program's own wish; the store is told later."""
        if self.stands():
            self.resigned = True
        self.ended = True
        self.over.notify_all()

    def end(self, reason: LostReason | None, *, resigned: bool = False) -> bool:
        """The engine ends it, for this reason; True if work of it is still going on."""
        if not self.ended:
            self.reason = reason
            self.resigned = resigned
        self.ended = True
        self._ended_by_engine = True
        self.over.notify_all()
        return not self._is_drained()

    @property
    def was_lost(self) -> bool:
        """Whether it is over, and not by the program's own wish."""
        return not self.resigned and not self.stands()

    @property
    def why_over(self) -> str:
        """Why it is over, for messages."""
        if self.resigned:
            return "resigned"
        return str(self.reason or self.lease.over or "ended")

    # -- work --------------------------------------------------------------------------------

    def begin_work(self) -> bool:
        """Note that this thread works for the term; False if it is over already.

        After a False the caller calls `end_work`, too.
        """
        self._workers.add(threading.get_ident())
        return self.stands()

    def end_work(self) -> bool:
        """This thread's work has ended; True if the caller is to report that none is left."""
        self._workers.discard(threading.get_ident())
        return self._ended_by_engine and self._is_drained()

    @property
    def working(self) -> bool:
        """Whether any thread works for the term."""
        return bool(self._workers)

    @property
    def works_here(self) -> bool:
        """Whether the calling thread is the one that works for the term."""
        return threading.get_ident() in self._workers

    def _is_drained(self) -> bool:
        if self._workers:
            return False
        try:
            self._drained.pop()
        except IndexError:
            return False  # somebody has reported it
        return True
