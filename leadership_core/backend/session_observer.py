"""Observer of sessions: one thread for each open store, as long as something is observed.

The rules are in `heartbeats.ObservedExpiry`, the requests and the thread here. The thread ends no
session: a candidate that enters does, so that a follower needs no right to write.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from enum import Enum
from math import inf
from typing import Final

from ..errors import ForkedStore, NotApplied, StoreClosed, StoreUnavailable
from .deadline import call_timeout, remaining_timeout
from .event_count import EventCount, snapshot
from .heartbeats import Heartbeat, HeartbeatStore, ObservedExpiry
from .threads import start_daemon
from .time_source import TimeSource

__all__ = ["Observation", "SessionObserver", "Sight", "end_observation", "observer_of"]

log: logging.Logger = logging.getLogger("leadership.session")

_READ_SECONDS = 5.0  # for one batch
_BATCH = 200  # sessions that are read in one request
_TOGETHER = 0.05  # seconds by which a read may be early, to be made in one batch with another one
_LONGEST_WAIT = 1.0  # a thread's wait does not count the time for which the machine is suspended
_FIRST_RETRY, _LAST_RETRY = 0.1, 1.0


class Sight(Enum):
    """The state of an observed session."""

    ALIVE = "alive"
    SILENT = "silent"
    """Not renewed for its whole ttl, and not ended yet."""
    OVER = "over"


Report = Callable[[str, Sight | StoreUnavailable], object]


class Observation:
    """The observation of the session that one watch's record names; thread-safe.

    Args:
        observer: whose thread reads the session.
        report: called in that thread with the session and what is known of it, whenever that has changed,
            and after a failure once more.
    """

    __slots__ = ("_observer", "report", "reported", "session")

    def __init__(self, observer: SessionObserver, report: Report) -> None:
        self._observer = observer
        self.report: Final = report
        self.session: str | None = None
        self.reported: tuple[str, object] | None = None

    def follow(self, session: str | None) -> None:
        """Observe that session from now on, in place of the one before; None observes nothing.

        Raises:
            NotApplied: no thread can be started now.
        """
        if session != self.session:
            self.session = session
            self.reported = None  # a report under way comes after this, and is as good
            if session is None:
                self._observer.wake()
            else:
                self._observer.changed()

    def close(self) -> None:
        """Observe nothing any more; a report may be under way in the thread."""
        self.session = None
        self._observer.remove(self)


class SessionObserver:
    """Reads the sessions that are observed, all in one batch, and reports what has changed.

    Args:
        heartbeats: where it reads them.
        time_source: of the store.

    Attributes:
        expiry: what is known; all reads of the process go in.
    """

    def __init__(self, heartbeats: HeartbeatStore, time_source: TimeSource) -> None:
        self.expiry: Final = ObservedExpiry()
        self._heartbeats: Final = heartbeats
        self._time_source: Final = time_source
        self._observations: Final[dict[Observation, None]] = {}
        self._lock: Final = threading.RLock()  # a signal handler may close a watch
        self._changed: Final = EventCount()
        self._stale = False
        self._closed = False
        self._tidy_at = -inf
        self._thread: threading.Thread | None = None
        self._process: Final = os.getpid()

    def look(self, sessions: Collection[str]) -> dict[str, Heartbeat]:
        """Read the sessions now, in the calling thread; those that are over are missing.

        Raises:
            StoreUnavailable: no answer.
        """
        if self._closed:
            raise StoreClosed("the store is closed")
        now = self._time_source.clock
        sent = now()
        found = self._heartbeats.read_heartbeats(sessions)
        answered = now()
        for session in sessions:
            heartbeat = found.get(session)
            if heartbeat is None:
                self.expiry.forget(session)
            else:
                self.expiry.note(heartbeat, sent=sent, answered=answered)
        return found

    def end(self, session: str) -> bool:
        """End the session if it was observed unchanged for its ttl; returns whether it is over now.

        Raises:
            StoreUnavailable: no answer; it may have been ended.
        """
        heartbeat = self.expiry.heartbeat(session)
        now = self._time_source.now()
        if heartbeat is None or not self.expiry.may_end(session, now):
            return False
        over = self._heartbeats.end_session(heartbeat)
        if over:
            log.info(
                "the session %s was not renewed for %g s, so it was ended", session, heartbeat.ttl
            )
            self.expiry.forget(session)
        return over

    def observe(self, report: Report) -> Observation:
        """Begin an observation, of no session yet."""
        observation = Observation(self, report)
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            self._observations[observation] = None
        return observation

    def remove(self, observation: Observation) -> None:
        """End an observation; with the last one the thread ends."""
        if os.getpid() != self._process:
            return  # a forked child: there is no thread here, and the lock may never be released
        with self._lock:
            self._observations.pop(observation, None)
        self.wake()

    def changed(self) -> None:
        """Read what is observed now; starts the thread if there is none."""
        with self._lock:
            if self._thread is None and not self._closed:
                work = self._time_source.begin_work()
                try:
                    self._thread = start_daemon(lambda: self._run(work), "leadership-sessions")
                except NotApplied:
                    work.__exit__(None, None, None)
                    raise
        self.wake()

    def close(self) -> None:
        """End the thread, and wait for that within the remaining timeout; may be called repeatedly."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            thread = self._thread
        self.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_timeout())

    def wake(self) -> None:
        """Wake the thread, which reads what is observed now, and ends if nothing is."""
        self._stale = True
        self._changed.notify_all()

    # -- in the thread -------------------------------------------------------------------------

    def _run(self, work: AbstractContextManager[object]) -> None:
        with work:
            try:
                self._observe()
            finally:
                with self._lock:
                    if self._thread is threading.current_thread():
                        self._thread = None

    def _observe(self) -> None:
        retry = _FIRST_RETRY
        while True:
            self._stale = False  # first: a change from here on needs another look
            with self._lock:
                observed = any(one.session is not None for one in self._observations)
                if self._closed or not observed:
                    self._thread = None  # in this block: from here on `changed` starts another one
                    return
            try:
                when = self._read_due()
                self._tidy()
                retry = _FIRST_RETRY
            except (StoreClosed, ForkedStore):
                return
            except StoreUnavailable as error:
                failure = error
            except Exception as error:  # a mistake of the store must not end its watches
                log.exception("reading the heartbeats of sessions failed")
                failure = StoreUnavailable(f"reading heartbeats failed: {error!r}")
                failure.__cause__ = error
            else:
                self._wait(when)
                continue
            self._wait(self._failed(failure, retry))
            retry = min(2 * retry, _LAST_RETRY)

    def _read_due(self) -> float:
        """Read the sessions whose time has come, report, and return the time of the next look."""
        followed = [
            (one, session)
            for one in snapshot(self._observations)
            if (session := one.session) is not None
        ]
        # What is over stays over: it is read again only for an observation that does not know it yet.
        unknown = {it for one, it in followed if one.reported is None or one.reported[0] != it}
        over = {it for one, it in followed if one.reported == (it, Sight.OVER)} - unknown
        sessions = sorted({session for _, session in followed} - over)
        until = self._time_source.now() + _TOGETHER
        due = [it for it in sessions if it in unknown or self.expiry.next_look(it) <= until]
        sights: dict[str, Sight] = {}
        for start in range(0, len(due), _BATCH):
            part = due[start : start + _BATCH]
            with call_timeout(_READ_SECONDS):
                found = self.look(part)
            for session in part:
                silent = self.expiry.is_silent(session)
                alive = Sight.SILENT if silent else Sight.ALIVE
                sights[session] = alive if session in found else Sight.OVER
        for one, session in followed:
            if session in sights:
                self._report(one, session, sights[session])
        rest = (it for it in sessions if sights.get(it) is not Sight.OVER)
        return min(map(self.expiry.next_look, rest), default=inf)

    def _tidy(self) -> None:
        """Let the store end the sessions of crashed processes, every minute or two."""
        now = self._time_source.now()
        if now < self._tidy_at:
            return
        first, self._tidy_at = self._tidy_at == -inf, now + random.uniform(60.0, 120.0)
        tidy = getattr(self._heartbeats, "tidy", None)
        if first or tidy is None:
            return
        try:
            with call_timeout(_READ_SECONDS):
                tidy()
        except (StoreClosed, ForkedStore):
            raise
        except Exception as error:  # noqa: BLE001 - the store cannot list, or is away: it is tried again
            log.debug("session.tidy_failed", extra={"error": str(error)})

    def _report(self, one: Observation, session: str, sight: Sight) -> None:
        if one.session == session and one.reported != (session, sight):
            one.reported = session, sight
            one.report(session, sight)

    def _failed(self, error: StoreUnavailable, retry: float) -> float:
        for one in snapshot(self._observations):
            session = one.session
            if session is not None and one.reported != ("", None):
                one.reported = "", None
                one.report(session, error)
        return self._time_source.now() + retry

    def _wait(self, when: float) -> None:
        source = self._time_source
        while not self._stale and (seconds := when - source.now()) > 0:
            if source.suspends:
                seconds = min(seconds, _LONGEST_WAIT)
            source.wait_for(self._changed, lambda: self._stale, None if seconds == inf else seconds)


_ATTRIBUTE = "_leadership_observer"  # of the store's object, so that both are collected together


def observer_of(heartbeats: HeartbeatStore, time_source: TimeSource) -> SessionObserver:
    """Return the one observer of an open store."""
    found: SessionObserver | None = getattr(heartbeats, _ATTRIBUTE, None)
    if found is None:
        # One step, as two threads may be here.
        found = vars(heartbeats).setdefault(_ATTRIBUTE, SessionObserver(heartbeats, time_source))
    return found


def end_observation(heartbeats: HeartbeatStore) -> None:
    """End what observes the sessions of a store that is being closed, within the remaining timeout."""
    found: SessionObserver | None = getattr(heartbeats, _ATTRIBUTE, None)
    if found is not None:
        found.close()
