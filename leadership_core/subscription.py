"""One watch of a store: its callback hears every last state, one call at a time."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final

from .budget import remaining_budget
from .store import Change

__all__ = ["Subscription"]

_log = logging.getLogger(__name__)


class Subscription:
    """What `Store.watch` returns, for stores that know themselves when something changed.

    Any thread may offer a state, so several may at once: one of them calls back, with the
    newest, until there is nothing newer; the others leave theirs and go. What the callback
    raises is logged, and the watch lives.

    Args:
        on_change: the callback.
        forget: called once with the subscription when it is closed.
    """

    def __init__(
        self, on_change: Callable[[Change], None], forget: Callable[[Subscription], None]
    ) -> None:
        self._on_change: Final = on_change
        self._forget: Final = forget
        self._condition: Final = threading.Condition()
        self._process: Final = os.getpid()
        self._sequence = -1
        self._latest: list[Change] = []  # the one that is to be told next, if any
        self._teller: int | None = None  # the thread that is calling back
        self._closed = False

    def offer(self, sequence: int, change: Change) -> None:
        """Tell the state, unless one with the same or a higher sequence was offered before.

        The caller must hold no lock that the callback might want.
        """
        with self._condition:
            if self._closed or sequence <= self._sequence:
                return
            self._sequence = sequence
            self._latest = [change]
            if self._teller is not None:
                return
            self._teller = threading.get_ident()
        try:
            while latest := self._take():
                try:
                    self._on_change(latest[0])
                except Exception:  # noqa: BLE001 - a callback of anyone
                    _log.exception("a watch's callback failed: %r", self._on_change)
        except BaseException:
            self._stop_telling()
            raise

    def close(self) -> None:
        """End the watch; nothing is called back once this has returned.

        A call that is under way in another thread is waited for, within the budget. The
        callback itself may close the watch: its call is the last one then.
        """
        if os.getpid() != self._process:
            return  # a forked child: nothing calls back here, and a lock may be held for ever
        with self._condition:
            first, self._closed = not self._closed, True
            self._latest.clear()
        if first:
            self._forget(self)
        with self._condition:
            if self._teller != threading.get_ident():
                self._condition.wait_for(lambda: self._teller is None, remaining_budget())

    def _take(self) -> list[Change]:
        with self._condition:
            latest, self._latest = self._latest, []
            if not latest:
                self._stop_telling()
            return latest

    def _stop_telling(self) -> None:
        with self._condition:
            self._teller = None
            self._condition.notify_all()
