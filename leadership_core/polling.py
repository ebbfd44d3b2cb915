"""Watches for stores that have to look for changes: one thread that looks, and tells what is new."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

from .budget import budget, remaining_budget
from .errors import StoreClosed, StoreUnavailable
from .store import Change
from .subscription import Subscription
from .threads import start_daemon

__all__ = ["Look", "PolledWatches"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # for a look, so that the thread ends soon after `close`, whatever hangs
_LAST_RETRY = 1.0
_NOTHING: Final = object()
_TROUBLE: Final = object()

Look = Callable[[Sequence[tuple[str, bool]]], Sequence[Change]]
"""Reads what is watched, linearizably: keys with whether the tree below is meant, to states."""


class PolledWatches:
    """All watches of one store; thread-safe.

    The thread is there from the first watch on, until `close`. Whoever watches is told the state
    of now, then each last state that differs from the one before, and a `StoreUnavailable` while
    looking fails; it is looked for ever, until the watch is closed.

    Args:
        look: returns the states, in order. It is called in the thread, with a budget of its own,
            and raises `StoreUnavailable` when the store is away.
        pause: seconds between two looks.
        wait: blocks until something may have changed, or for about that many seconds; it has a
            budget, too. Left out, the thread waits for `wake`.
        name: of the thread; it begins with `leadership-`.
    """

    def __init__(
        self,
        look: Look,
        *,
        pause: float,
        wait: Callable[[float], object] | None = None,
        name: str = "leadership-watch",
    ) -> None:
        self._look: Final = look
        self._pause: Final = pause
        self._name: Final = name
        self._woken: Final = threading.Event()
        self._wait: Final = self._woken.wait if wait is None else wait
        self._process: Final = os.getpid()
        self._lock: Final = threading.Lock()
        self._watched: Final[dict[Subscription, tuple[str, bool]]] = {}
        self._told: Final[dict[Subscription, object]] = {}  # only in the thread
        self._numbers: Final = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, key: str, on_change: Callable[[Change], None], *, tree: bool) -> Subscription:
        """Begin to watch; contacts nobody, the thread tells the state of now.

        Raises:
            StoreClosed: nothing is watched any more.
        """
        subscription = Subscription(on_change, self._forget)
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            if self._thread is None:
                # It cannot look before this block has ended.
                self._thread = start_daemon(self._run, self._name)
            self._watched[subscription] = key, tree
        self.wake()
        return subscription

    def wake(self) -> None:
        """Look now: something has changed. For stores that leave the waiting to this class."""
        self._woken.set()

    def close(self) -> None:
        """End all watches, and wait within the budget until the thread has ended."""
        if os.getpid() != self._process:
            return  # a forked child: there is no thread here, and the lock may be held for ever
        with self._lock:
            self._closed = True
            subscriptions, thread = list(self._watched), self._thread
        self.wake()
        for subscription in subscriptions:
            subscription.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_budget())

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._watched.pop(subscription, None)

    def _run(self) -> None:
        retry = self._pause
        while True:
            self._woken.clear()  # first: what happens from here on is worth another look
            if self._closed:
                return
            with self._lock:
                watched = dict(self._watched)
            try:
                with budget(_LOOK_SECONDS):
                    states = self._look(list(watched.values()))
                self._tell(list(watched), states)
                with budget(_LOOK_SECONDS + self._pause):
                    self._wait(self._pause)
                retry = self._pause
                continue
            except StoreClosed:
                return  # nobody will open it again
            except StoreUnavailable as error:
                trouble = error
            except Exception as error:  # noqa: BLE001 - a mistake of the store must not end its watches
                _log.exception("looking for changes failed")
                trouble = StoreUnavailable(f"looking for changes failed: {error!r}")
                trouble.__cause__ = error
            self._tell(list(watched), [trouble] * len(watched))
            self._woken.wait(retry)
            retry = min(retry * 2, _LAST_RETRY)

    def _tell(self, subscriptions: Sequence[Subscription], states: Sequence[Change]) -> None:
        for subscription, state in zip(subscriptions, states, strict=True):
            news: object = _TROUBLE if isinstance(state, StoreUnavailable) else state
            if self._told.get(subscription, _NOTHING) != news:
                self._told[subscription] = news
                subscription.offer(next(self._numbers), state)
        for forgotten in self._told.keys() - set(subscriptions):
            del self._told[forgotten]
