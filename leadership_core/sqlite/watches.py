"""Who is told of what happens in the database, by one thread, only while there is somebody."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..budget import remaining_budget
from ..errors import ForkedStore, StoreClosed, StoreUnavailable
from ..store import Change, Entry
from ..subscription import Subscription
from ..threads import start_daemon
from .database import Database
from .step import Span, key_span, tree_span
from .steps import FileReplaced, Steps
from .view import View

__all__ = ["GRANULARITY", "Watches"]

_log = logging.getLogger(__name__)

GRANULARITY = 0.01
"""Seconds between two looks at a database in which nothing happens."""

_SOON = 0.005  # the same right after something has happened
_SOONEST = 0.0005
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0


@dataclass(eq=False, slots=True)
class _Watch:
    subscription: Subscription
    tree: bool
    told: object = None  # what it was told last: a view and what that had seen, or `_TROUBLE`

    def state(self, entries: Sequence[Entry]) -> Change:
        if self.tree:
            return list(entries)
        return entries[0] if entries else None


_TROUBLE: Final = "trouble"


class Watches:
    """All watches of one store; thread-safe.

    Args:
        database: where.
        steps: what deletes the sessions that have ended.
    """

    def __init__(self, database: Database, steps: Steps) -> None:
        self._database: Final = database
        self._steps: Final = steps
        self._condition: Final = threading.Condition()
        self._watches: Final[dict[Span, list[_Watch]]] = {}
        self._new: Final[set[Span]] = set()  # that have a watch that was told nothing yet
        self._resized = False
        self._woken = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._count: Final = itertools.count()

    def add(self, key: str, on_change: Callable[[Change], None], *, tree: bool) -> Subscription:
        """Begin to watch; the thread tells the state of now.

        Raises:
            StoreClosed: nothing is watched any more.
        """
        self._database.check_open()
        span = tree_span(key) if tree else key_span(key)

        def forget(_: Subscription) -> None:
            with self._condition:
                self._watches[span].remove(watch)
                if not self._watches[span]:
                    del self._watches[span]
                self._resized = True
                self._condition.notify_all()

        watch = _Watch(Subscription(on_change, forget), tree)
        with self._condition:
            if self._closed:
                raise StoreClosed("the sqlite:// store is closed")
            if self._thread is None:
                # It cannot look before this block has ended.
                self._thread = start_daemon(self._run, "leadership-sqlite-watch")
            self._watches.setdefault(span, []).append(watch)
            self._new.add(span)
            self._resized = True
            self._condition.notify_all()
        return watch.subscription

    def wake(self) -> None:
        """Look now: this process has changed something."""
        if self._thread is not None:
            with self._condition:
                self._woken = True
                self._condition.notify_all()

    def close(self) -> None:
        """End all watches, and wait for the thread to end, within the budget."""
        with self._condition:
            self._closed = True
            watches = list(itertools.chain.from_iterable(self._watches.values()))
            thread = self._thread
            self._condition.notify_all()
        for watch in watches:
            watch.subscription.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_budget())

    def _run(self) -> None:
        view: View | None = None
        number = 0  # of the view: another one may see the same numbers in another file
        pause, retry = 0.0, _FIRST_RETRY
        while self._is_wanted(pause):
            try:
                if view is None:
                    view = View(self._database, self._steps)
                    number = next(self._count)
                    self._resized = True
                self._look_at_the_right_spans(view)
                changes = [] if view.is_quiet() else view.changes()
                for span, seen, entries in changes:
                    self._tell(span, (number, seen), entries)
                pause = _SOON if changes else min(pause * 1.01 + _SOONEST, GRANULARITY)
                pause = max(_SOONEST, min(pause, view.expires_at - self._steps.now()))
                retry = _FIRST_RETRY
                continue
            except FileReplaced:
                pause = _SOON  # nothing is wrong: there is another file to look at
            except (StoreClosed, ForkedStore):
                pause = _LAST_RETRY  # it is ending, and says so to all watches
            except StoreUnavailable as error:
                self._tell_trouble(error)
                pause, retry = retry, min(retry * 2, _LAST_RETRY)
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not end all watches
                _log.exception("watching %s failed", self._database.path)
                trouble = StoreUnavailable(f"watching failed: {error!r}")
                trouble.__cause__ = error
                self._tell_trouble(trouble)
                pause, retry = retry, min(retry * 2, _LAST_RETRY)
            if view is not None:
                view.close()
                view = None
            self._be_patient()
        if view is not None:
            view.close()

    def _is_wanted(self, pause: float) -> bool:
        with self._condition:
            if not (self._woken or self._resized or self._closed):
                self._condition.wait(pause)
            self._woken = False
            if self._watches and not self._closed:
                return True
            self._thread = None
            return False

    def _be_patient(self) -> None:
        # A new view looks at everything. What came in the meantime is no reason to hurry.
        with self._condition:
            self._resized = self._woken = False

    def _look_at_the_right_spans(self, view: View) -> None:
        with self._condition:
            if not self._resized:
                return
            self._resized = False
            spans, anew = frozenset(self._watches), frozenset(self._new)
            self._new.clear()
        view.watch(spans, anew)

    def _tell(self, span: Span, told: object, entries: Sequence[Entry]) -> None:
        with self._condition:
            watches = [watch for watch in self._watches.get(span, ()) if watch.told != told]
        for watch in watches:
            watch.told = told
            watch.subscription.offer(next(self._count), watch.state(entries))

    def _tell_trouble(self, error: StoreUnavailable) -> None:
        with self._condition:
            watches = list(itertools.chain.from_iterable(self._watches.values()))
        for watch in watches:
            if watch.told is not _TROUBLE:
                watch.told = _TROUBLE
                watch.subscription.offer(next(self._count), error)
