"""Recorders of what watches and candidates report, for a thread that waits for it."""

from __future__ import annotations

import reprlib
import threading
import time
from collections.abc import Callable
from typing import Any

from ..backend.clock import now
from ..candidate import Candidate
from ..errors import LeadershipError, StoreUnavailable
from .history import History, LeadershipInterval

__all__ = ["DEFAULT_WAIT", "CandidateRecorder", "WatchRecorder"]


DEFAULT_WAIT = 5.0
"""Seconds for an event that needs no lease to end, on a busy machine."""


class WatchRecorder:
    """A callback for a watch that keeps all reported states; thread-safe.

    Reports of an outage of the store are left out: they may come at any time.

    Example:
        >>> recorder = WatchRecorder()
        >>> watch = store.watch("config", recorder)
        >>> entry = store.put("config", b"1")
        >>> assert recorder.last_is(entry), recorder

    Attributes:
        states: all reported states, in order.
    """

    def __init__(self) -> None:
        self.states: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, change: Any) -> None:
        if isinstance(change, StoreUnavailable):
            return
        with self._changed:
            self.states.append(change)
            self._changed.notify_all()

    def last_is(self, state: Any, within: float | None = None) -> bool:
        """Wait until the last state equals this one; returns False if it does not in time.

        Args:
            state: the state.
            within: seconds; by default 5.
        """
        return self.last(lambda last: last == state, within)

    def last(self, matches: Callable[[Any], object], within: float | None = None) -> bool:
        """Wait until the last state matches; returns False if it does not in time.

        Args:
            matches: whether a state is the one.
            within: seconds; by default 5.
        """
        within = DEFAULT_WAIT if within is None else within
        with self._changed:
            return self._changed.wait_for(
                lambda: bool(self.states and matches(self.states[-1])), within
            )

    def __repr__(self) -> str:
        last = ", ".join(map(reprlib.repr, self.states[-5:]))
        return f"<WatchRecorder of {len(self.states)} states, the last of them: {last}>"


class CandidateRecorder:
    """Two threads that write a candidate's leadership and events into a history.

    It starts the candidate's campaign, and ends by itself when the candidate has stopped.

    Example:
        >>> history = History()
        >>> recorder = CandidateRecorder(history, Candidate(store, "jobs", "a"), "a")

    Args:
        history: of the candidate's election; other recorders may write it, too.
        candidate: the candidate.
        who: its name in the history, unique for each candidate.
        pause: seconds between two readings of `term`.
    """

    def __init__(
        self, history: History, candidate: Candidate, who: str, *, pause: float = 0.001
    ) -> None:
        self._history, self._candidate, self._who = history, candidate, who
        self._pause = pause
        self._events = candidate.events()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"recorder-{who}", daemon=True)
            for target in (self._read_terms, self._record_events)
        ]
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until the candidate has stopped; returns False if that takes longer than `timeout`."""
        until = now() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - now()))
        return not any(thread.is_alive() for thread in self._threads)

    def _read_terms(self) -> None:
        interval: LeadershipInterval | None = None
        while not self._over.is_set():
            before = now()
            term = self._candidate.term
            after = now()
            if interval is not None and (term is None or term.token != interval.token):
                interval.open, interval = False, None
            if term is not None:
                if interval is None:
                    interval = self._history.begin_interval(self._who, term.token, after, before)
                interval.until = before
            time.sleep(self._pause)
        if interval is not None:
            interval.open = False

    def _record_events(self) -> None:
        try:
            for event in self._events:
                self._history.observe(self._who, event)
            self._history.end(self._who)
        except LeadershipError as error:
            self._history.observe(self._who, f"failed with {error!r}")
        finally:
            self._over.set()
