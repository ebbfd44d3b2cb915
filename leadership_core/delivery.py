"""The delivery of a watch's reports to its callback, for all stores and their watches."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from .budget import remaining_budget

__all__ = ["WatchDelivery"]

_log = logging.getLogger(__name__)

ReportT = TypeVar("ReportT")


class WatchDelivery(Generic[ReportT]):
    """Calls a callback with the latest report, one call at a time, until it is closed.

    Any thread may publish, so several may at once: one of them makes the calls, with the latest
    report, until there is none left; the others return at once. A report that is replaced before
    its call begins is skipped. What the callback raises is logged. Thread-safe.

    Args:
        callback: the user's; called with no lock held.
        on_close: called once, by the first `close`, before that waits for a call under way.
    """

    def __init__(
        self,
        callback: Callable[[ReportT], object],
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self._callback: Final = callback
        self._on_close: Final = on_close
        self._condition: Final = threading.Condition()  # reentrant: a signal handler may close
        self._process: Final = os.getpid()
        self._latest: list[ReportT] = []  # what the next call is made with, if anything
        self._calling: int | None = None  # the thread that makes the calls
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no further call begins."""
        return self._closed

    def publish(self, report: ReportT) -> None:
        """Call the callback with the report; the caller must hold no lock that it might want."""
        self.put(report)
        self.run()

    def put(self, report: ReportT) -> None:
        """Keep the report for the next `run`; calls nothing, so a lock may be held."""
        with self._condition:
            if not self._closed:
                self._latest = [report]

    def run(self) -> None:
        """Make the calls that are due, unless another thread, or this one further up, does."""
        with self._condition:
            if self._calling is not None or not self._latest:
                return
            self._calling = threading.get_ident()
        try:
            while latest := self._take():
                try:
                    self._callback(latest[0])
                except Exception:  # noqa: BLE001 - of the user: the watch goes on
                    _log.exception("a watch's callback failed: %r", self._callback)
        except BaseException:  # Ctrl-C in the callback, or it ends the thread
            self._stop_calling()
            raise

    def close(self) -> None:
        """End the calls: none begins after this has returned; may be called again.

        Waits for a call that is under way in another thread, for the remaining budget at most (five
        seconds outside a call of the store); does not wait inside the callback itself, whose call
        is the last one then. Does nothing in a forked child.
        """
        if os.getpid() != self._process:
            return  # no thread calls back here, and one of the parent may have held the lock
        with self._condition:
            first, self._closed = not self._closed, True
            self._latest.clear()
        if first:
            self._on_close()
        with self._condition:
            if self._calling != threading.get_ident():
                self._condition.wait_for(lambda: self._calling is None, remaining_budget())

    def _take(self) -> list[Any]:
        with self._condition:
            latest, self._latest = self._latest, []
            if not latest:
                self._stop_calling()
            return latest

    def _stop_calling(self) -> None:
        with self._condition:
            self._calling = None
            self._condition.notify_all()
