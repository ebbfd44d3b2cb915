"""Checks of endpoints, shared by all threads of a store, with a short memory of failures.

After an outage every session, watch and request of a store wants to reconnect at the same moment. If each
thread checked the endpoint by itself, a server that has just come back would get hundreds of connections
from one process, and most of them again when they fail. So one thread makes a check, those that come
meanwhile wait for its outcome, and the next check after a failure waits for a tenth of a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from leadership_core.backend import Address, clock

from .errors import ConnectFailed

__all__ = ["EndpointChecks"]

_PAUSE = 0.1  # seconds between a failure and the next check of that endpoint
_POLL_INTERVAL = 0.1  # seconds: the thread that would notify may have been interrupted


class _Check:
    """A check that a thread makes; `failure` is set at its end, if it says something to others."""

    def __init__(self) -> None:
        self.failure: ConnectFailed | None = None


class EndpointChecks:
    """The checks of one store's endpoints; thread-safe.

    Attributes:
        verified: the addresses at which an etcd has answered last time.
    """

    def __init__(self) -> None:
        self.verified: set[Address] = set()
        self._changed = threading.Condition()
        self._running: dict[Hashable, _Check] = {}
        self._not_before: dict[Address, float] = {}  # the next check, after a failure

    def run(
        self,
        subject: Hashable,
        address: Address,
        is_done: Callable[[], bool],
        check: Callable[[], object],
        until: float,
    ) -> None:
        """Make a check, or wait for the same check of another thread.

        Args:
            subject: of the check; one thread at a time makes it.
            address: of the endpoint.
            is_done: whether the check is not needed any more.
            check: what to do; raises `ConnectFailed` if the endpoint is of no use now.
            until: when to give up, on `clock.now`.

        Raises:
            ConnectFailed: as the check did, in this thread or in the one that was waited for.
        """
        mine = self._begin(subject, address, is_done, until)
        if mine is None:
            return
        failed = True
        try:
            check()
            failed = False
        except ConnectFailed as error:
            if clock.now() < until:  # else a thread that has more time might succeed
                mine.failure = error
            raise
        finally:
            with self._changed:
                del self._running[subject]
                if failed:
                    self._not_before[address] = clock.now() + _PAUSE
                else:
                    self._not_before.pop(address, None)
                self._changed.notify_all()

    def _begin(
        self, subject: Hashable, address: Address, is_done: Callable[[], bool], until: float
    ) -> _Check | None:
        """Wait until the check is made, which returns None, or is to be made by the caller."""
        other: _Check | None = None
        with self._changed:
            while not is_done():
                if other is not None and (failure := other.failure) is not None:
                    raise ConnectFailed(
                        str(failure), lasting=failure.lasting, where=failure.where
                    ) from failure
                now = clock.now()
                pause = self._not_before.get(address, now) - now
                if subject not in self._running and pause <= 0:
                    mine = self._running[subject] = _Check()
                    return mine
                if now >= until:
                    raise ConnectFailed("no answer in time")
                other = self._running.get(subject)
                wait = _POLL_INTERVAL if other is not None else pause
                self._changed.wait(min(until - now, wait))
        return None
