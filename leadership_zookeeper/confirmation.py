"""What makes a read linearizable: a transaction that changes nothing, sent before the read.

`sync` is not enough. A leader of the ensemble that was stopped past an election and goes on
answers it, and every read, from its old state, until it notices. A transaction is answered once a
majority has acknowledged it, and the reads that follow it on the same session show at least what
it shows. It is committed after it was sent, so nothing that was acknowledged before is missing.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from kazoo.exceptions import NoAuthError, NoNodeError, SessionExpiredError

from leadership_core import clock
from leadership_core.budget import remaining_budget
from leadership_core.errors import NotDone, SessionLost, StoreUnavailable

__all__ = ["Confirmations", "check_confirmation", "confirmation"]

_LOOK = 0.1  # seconds after which a thread that waits looks by itself


class _Link(Protocol):
    def wait_connected(self) -> None: ...
    def post(self, *requests: Any) -> list[Any]: ...
    def answer(self, pending: Any, doing: str) -> Any: ...


class Confirmations:
    """Confirming transactions of one link, shared by the threads that wait for one.

    One that was sent before a read was asked for proves nothing to it. So a thread that finds one
    on the way waits until it is answered, and then sends one for all that wait by then: there is
    never more than one on the way, however many threads read.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._flying: Any = None
        self._next = _Batch()

    def send(self, link: _Link, doing: str) -> Any:
        """Return a transaction that is sent after now, and not answered yet.

        Raises:
            StoreUnavailable: not connected in time, or the one before got no answer.
        """
        until = clock.now() + remaining_budget()
        link.wait_connected()
        with self._changed:
            batch = self._next
            while batch.pending is None:
                if self._flying is None or self._flying.ready():
                    self._next = _Batch()
                    (batch.pending,) = link.post(confirmation)
                    self._flying = batch.pending
                    self._changed.notify_all()
                    break
                left = until - clock.now()
                if left <= 0:
                    raise NotDone(f"cannot {doing}: ZooKeeper answers too slowly")
                # Not for all of it: the thread that would notify may have been interrupted.
                self._changed.wait(min(left, _LOOK))
            return batch.pending

    def finish(self, link: _Link, pending: Any, doing: str) -> None:
        """Wait for the answer to what `send` has returned; return if it confirms.

        Raises:
            SessionLost: the session has ended.
            StoreUnavailable: no answer, or one that confirms nothing.
        """
        try:
            answer = link.answer(pending, doing)
        finally:
            with self._changed:
                if self._flying is pending:
                    self._flying = None
                    self._changed.notify_all()
        check_confirmation(answer, doing)


class _Batch:
    """The threads that share one transaction."""

    def __init__(self) -> None:
        self.pending: Any = None


def confirmation(client: Any) -> Any:
    """Ask for a transaction that changes nothing."""
    transaction = client.transaction()
    transaction.check("/", -1)
    return transaction.commit_async()


def check_confirmation(answer: Any, doing: str) -> None:
    """Return if that is what a majority has answered to a `confirmation`.

    Raises:
        SessionLost: the session has ended.
        StoreUnavailable: it confirms nothing.
    """
    steps = answer if isinstance(answer, list) else [answer]
    for step in steps:
        if isinstance(step, SessionExpiredError):  # the leader knows it before the server does
            raise SessionLost("ZooKeeper has ended the session")
        # There or not, readable or not: a majority has acknowledged either.
        if isinstance(step, Exception) and not isinstance(step, NoNodeError | NoAuthError):
            raise StoreUnavailable(f"cannot {doing}: {step!r}") from step
