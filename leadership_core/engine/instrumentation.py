"""Instrumentation of the engine: what it reports to observers.

Without an observer each of these functions costs a test of `hub.active`. The records are imported when
the first one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..backend.clock import Clock
from ..backend.observation import hub
from ..errors import (
    ConfigurationError,
    Conflict,
    Fenced,
    NotApplied,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from ..backend.records import Outcome
    from .lease import Lease

__all__ = [
    "ObservedRenewal",
    "ObservedStore",
    "WatchObservation",
    "observed_request",
]

T = TypeVar("T")


class ObservedStore(NamedTuple):
    """The store as records name it.

    Attributes:
        url: with all secrets masked.
        kind: the scheme, without `+tls`.
        prefix: of the URL; keys in records are without it.
        now: its clock.
    """

    url: str
    kind: str
    prefix: str
    now: Clock

    @classmethod
    def of(cls, url: str, prefix: str, now: Clock) -> ObservedStore:
        """Make it from the URL, with all secrets masked, its prefix, and its clock."""
        return cls(url, url.partition("://")[0].partition("+")[0], prefix, now)

    def short(self, key: str) -> str:
        """A key of the backend as users see it."""
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key


def observed_request(
    store: ObservedStore,
    operation: str,
    key: str | None,
    request: Callable[[], T],
    *,
    by_program: bool = False,
) -> T:
    """Make a request, and report it; for callers that have found `hub.active`.

    Args:
        store: at which.
        operation: its name.
        key: as users see it, or None.
        request: what to call.
        by_program: whether the program makes it.
    """
    from ..backend.records import Outcome, Request

    begun = store.now()
    outcome = Outcome.OK
    try:
        return request()
    except BaseException as error:
        outcome = _outcome_of(error)
        raise
    finally:
        ended = store.now()
        with suppress(Exception):  # no memory: the request counts, not its report
            hub.report(
                Request(
                    at=ended,
                    store=store.url,
                    kind=store.kind,
                    operation=operation,
                    key=key,
                    by_program=by_program,
                    seconds=ended - begun,
                    outcome=outcome,
                    context=copy_context(),
                )
            )


def _outcome_of(error: BaseException | None) -> Outcome:
    from ..backend.records import Outcome

    match error:
        case None:
            return Outcome.OK
        case NotApplied():
            return Outcome.NOT_APPLIED
        case StoreRefused() | ConfigurationError():
            return Outcome.REFUSED
        case SessionLost():
            return Outcome.SESSION_LOST
        case Fenced():
            return Outcome.FENCED
        case Conflict():
            return Outcome.CONFLICT
        case StoreUnavailable():
            return Outcome.UNAVAILABLE
        case _:
            return Outcome.ERROR


class ObservedRenewal:
    """Measures and reports the renewal that is made inside its `with` block, or was not sent.

    Args:
        store: where.
        lease: which is renewed.
        sent: the time of the clock at which the request is sent.
        late: seconds by which the thread woke too late.
    """

    __slots__ = ("_before", "_late", "_lease", "_sent", "_store")

    def __init__(self, store: ObservedStore, lease: Lease, sent: float, late: float) -> None:
        self._store, self._lease, self._sent, self._late = store, lease, sent, late
        self._before = lease.remaining() if hub.active else 0.0

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if hub.active:
            with suppress(Exception):  # no memory: the renewal counts, not its report
                self._report(error)

    def report_unsent(self) -> None:
        """Report that it was not sent, because the lease had ended."""
        if hub.active:
            with suppress(Exception):
                self._report(NotApplied("the lease had ended"))

    def _report(self, error: BaseException | None) -> None:
        from ..backend.records import Renewal

        now = self._store.now()
        hub.report(
            Renewal(
                at=now,
                store=self._store.url,
                kind=self._store.kind,
                outcome=_outcome_of(error),
                seconds=now - self._sent,
                ttl=self._lease.effective_ttl,
                remaining_before=self._before,
                remaining_after=self._lease.remaining(),
                late=self._late,
            )
        )


class WatchObservation:
    """Reports when a watch reports again after a failure.

    Args:
        store: where.
        key: what is watched, as the backend sees it.
        watch: what for: claim, leader, program.
    """

    __slots__ = ("_failed_at", "_key", "_store", "_watch")

    def __init__(self, store: ObservedStore, key: str, watch: str) -> None:
        self._store, self._key, self._watch = store, key, watch
        self._failed_at: float | None = None

    def note(self, *, failed: bool) -> None:
        """Note that the watch has failed, or that it has reported; from any thread."""
        if failed:
            if self._failed_at is None:
                self._failed_at = self._store.now()
            return
        failed_at, self._failed_at = self._failed_at, None
        if failed_at is not None and hub.active:
            with suppress(Exception):
                self._report(failed_at)

    def _report(self, failed_at: float) -> None:
        from ..backend.records import WatchRestarted

        now = self._store.now()
        hub.report(
            WatchRestarted(
                at=now,
                store=self._store.url,
                kind=self._store.kind,
                key=self._store.short(self._key),
                watch=self._watch,
                seconds=now - failed_at,
            )
        )
