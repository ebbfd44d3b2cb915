"""A thread that reads for the watches, so that the one that hears of events never waits."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from leadership_core import clock
from leadership_core.budget import budget, remaining_budget
from leadership_core.threads import start_daemon

__all__ = ["Errands"]

log = logging.getLogger(__name__)

_SECONDS = 3.0  # that one of them may take

Errand = Callable[[], None]


class Errands:
    """Runs errands one after the other, each when it is due; safe for several threads."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._due: list[tuple[float, int, Errand]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, errand: Errand, delay: float = 0.0) -> None:
        """Run it in `delay` seconds, within a budget."""
        with self._news:
            if self._closed:
                return
            if self._thread is None:
                self._thread = start_daemon(self._run, "leadership-etcd-read")
            heapq.heappush(self._due, (clock.now() + delay, next(self._order), errand))
            self._news.notify()

    def close(self) -> None:
        """Run no more of them; the thread ends after the one that is under way."""
        with self._news:
            self._closed = True
            self._due.clear()
            self._news.notify()

    def join(self) -> None:
        """Wait for the thread's end, within the budget."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_budget())

    def _run(self) -> None:
        while (errand := self._next()) is not None:
            try:
                with budget(_SECONDS):
                    errand()
            except Exception:  # one that fails must not end the others
                log.exception("A watch could not be looked after")
            del errand  # while the thread waits, it must keep no store alive

    def _next(self) -> Errand | None:
        with self._news:
            while not self._closed:
                if not self._due:
                    self._news.wait()
                elif (wait := self._due[0][0] - clock.now()) > 0:
                    self._news.wait(wait)
                else:
                    return heapq.heappop(self._due)[2]
        return None
