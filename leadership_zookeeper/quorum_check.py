"""Quorum checks: transactions that change nothing, which make the reads after them linearizable.

`sync` does not suffice. A leader of the ensemble that was suspended during an election answers
`sync` and reads from its old state until it notices. A transaction is answered after a majority
has acknowledged it, and later reads on the same session observe at least its state. It is
committed after it was sent, so nothing that was acknowledged before is missing.
See https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html#ch_zkGuarantees.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from kazoo.exceptions import NoAuthError, NoNodeError, SessionExpiredError

from leadership_core.backend import (
    NotApplied,
    SessionLost,
    StoreUnavailable,
    clock,
    remaining_timeout,
)

__all__ = ["QuorumChecks", "quorum_check", "verify_quorum_check"]

_POLL_INTERVAL = 0.1  # seconds after which a waiting thread checks the condition by itself


class _Client(Protocol):
    def wait_connected(self) -> None: ...
    def post(self, *requests: Any) -> list[Any]: ...
    def result(self, pending: Any, doing: str) -> Any: ...


class QuorumChecks:
    """The quorum checks of one client, shared by the threads that wait for one; thread-safe.

    A check that was sent before a read was requested proves nothing about that read. So a thread
    that finds a pending check waits until it is answered, and one check is sent then for all
    threads that wait. At most one is pending at a time, however many threads read.

    Attributes:
        waiting: number of threads that wait until a check can be sent.
    """

    def __init__(self) -> None:
        self.waiting: int = 0
        self._changed = threading.Condition()
        self._sent: Any = None
        self._next = _SharedCheck()

    def send(self, client: _Client, doing: str) -> Any:
        """Return a pending check that is sent after this call began.

        Raises:
            StoreUnavailable: not connected in time, or the check before was not answered.
        """
        until = clock.now() + remaining_timeout()
        client.wait_connected()
        with self._changed:
            check = self._next
            while check.pending is None:
                if self._sent is None or self._sent.ready():
                    self._next = _SharedCheck()
                    (check.pending,) = client.post(quorum_check)
                    self._sent = check.pending
                    self._changed.notify_all()
                    break
                left = until - clock.now()
                if left <= 0:
                    raise NotApplied(f"cannot {doing}: ZooKeeper answers too slowly")
                self.waiting += 1
                try:
                    # Not all of it: the thread that would notify may have been interrupted.
                    self._changed.wait(min(left, _POLL_INTERVAL))
                finally:
                    self.waiting -= 1
            return check.pending

    def finish(self, client: _Client, pending: Any, doing: str) -> None:
        """Wait for the answer to a check, and verify it.

        Args:
            client: that has sent it.
            pending: what `send` has returned.
            doing: the operation, for the message "cannot ...".

        Raises:
            SessionLost: the session has ended.
            StoreUnavailable: no answer, or one that proves nothing.
        """
        try:
            answer = client.result(pending, doing)
        finally:
            with self._changed:
                if self._sent is pending:
                    self._sent = None
                    self._changed.notify_all()
        verify_quorum_check(answer, doing)


class _SharedCheck:
    """One check of several threads; `pending` is None until it is sent."""

    def __init__(self) -> None:
        self.pending: Any = None


def quorum_check(kazoo: Any) -> Any:
    """Request a transaction that changes nothing."""
    transaction = kazoo.transaction()
    transaction.check("/", -1)
    return transaction.commit_async()


def verify_quorum_check(answer: Any, doing: str) -> None:
    """Return if the answer proves that a majority has acknowledged the check.

    Args:
        answer: to `quorum_check`.
        doing: the operation, for the message "cannot ...".

    Raises:
        SessionLost: the session has ended.
        StoreUnavailable: it proves nothing.
    """
    steps = answer if isinstance(answer, list) else [answer]
    for step in steps:
        if isinstance(step, SessionExpiredError):  # the leader knows it before the server does
            raise SessionLost("ZooKeeper has ended the session")
        # Whether the root exists and is readable does not matter: a majority acknowledged either.
        if isinstance(step, Exception) and not isinstance(step, NoNodeError | NoAuthError):
            raise StoreUnavailable(f"cannot {doing}: {step!r}") from step
