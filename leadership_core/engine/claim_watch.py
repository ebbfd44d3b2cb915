"""The watch of one candidate's claim; reports changes in the scheduler's thread."""

from __future__ import annotations

from typing import Protocol

from ..backend.protocols import Claim, Closable, Election
from ..errors import ConfigurationError, StoreError
from .context import EngineContext
from .executors import call
from .instrumentation import WatchObservation

__all__ = ["ClaimWatch", "ClaimWatcher"]

_CLOSE_SECONDS = 5.0


class ClaimWatcher(Protocol):
    """What a watch reports to: `CandidateRequests`, which imports this module."""

    def starts_read(self, claim: Claim) -> bool:
        """Start a read of the status, in the thread of the store's watch; False if the watch has to report."""

    def status_changed(self) -> None:
        """Note, in the scheduler's thread, that the status of the claim may have changed."""


class ClaimWatch:
    """Watches the latest claim; used in the scheduler's thread, except for `arm`.

    There are as many as elections, so it refers to its watcher, and keeps no function for each call.

    Args:
        context: whose scheduler and threads to use.
        election: which the claims are in.
        watcher: of the claim.
    """

    __slots__ = ("_claim", "_context", "_election", "_observed", "_watch", "watcher")

    def __init__(self, context: EngineContext, election: Election, watcher: ClaimWatcher) -> None:
        self._context = context
        self._observed: WatchObservation | None = None  # from its first failure on
        self._election = election
        self.watcher: ClaimWatcher = watcher
        self._claim: Claim | None = None
        self._watch: Closable | None = None

    def track(self, claim: Claim) -> bool:
        """Report changes of this claim from now on; True if `arm` is to be called for it."""
        new = self._claim is not claim
        self._claim = claim
        return new

    def arm(self, claim: Claim, limit: float) -> bool:
        """Begin to watch the claim; blocks for a request, so not in the scheduler's thread.

        The caller reads the status afterwards: a change before this returns is not reported.

        Args:
            claim: which.
            limit: seconds that the request may take.

        Returns:
            Whether the watch has reported a change already.

        Raises:
            StoreError: there is no watch now; the next `track` says so.
            ConfigurationError: likewise.
        """
        wakeup = _CoalescedWakeup(self, claim)
        post, store = self._context.scheduler.post, self._context.store

        def armed() -> None:
            if self._observed is not None:
                self._observed.note(failed=False)
            if self._claim is claim and self._watch is None:
                self._watch = watch
            else:
                self._close(watch)

        def not_armed() -> None:
            if self._claim is claim and self._watch is None:
                self._claim = None

        try:
            watch = call(
                limit,
                lambda: self._election.watch_claim(claim, wakeup),
                store,
                "watch_claim",
                claim.key,
            )
        except (StoreError, ConfigurationError):
            if self._observed is None:
                self._observed = WatchObservation(store, claim.key, "claim")
            self._observed.note(failed=True)
            post(not_armed)
            raise
        woken = wakeup.begin()
        post(armed)
        return woken

    def drop(self) -> None:
        """Watch nothing any more."""
        watch, self._watch, self._claim = self._watch, None, None
        if watch is not None:
            self._close(watch)

    def wake(self, claim: Claim) -> None:
        """Note that the status of the claim may have changed."""
        if self._claim is claim:
            self.watcher.status_changed()

    def post_wake(self, wakeup: _CoalescedWakeup) -> None:
        """Let the scheduler's thread take a report of the store's watch; from any thread."""
        self._context.scheduler.post(wakeup.run)

    def _close(self, watch: Closable) -> None:
        store = self._context.store
        self._context.requests.submit(
            lambda: call(_CLOSE_SECONDS, watch.close, store, "close_watch")
        )


class _CoalescedWakeup:
    """Posts one task, however often the store calls before the scheduler has run it.

    It begins when the watch has been made: the status is read after that, so nothing is missed.

    Args:
        watch: of which claim the status may have changed then.
        claim: that claim.
    """

    __slots__ = ("_called", "_claim", "_pending", "_watch")

    def __init__(self, watch: ClaimWatch, claim: Claim) -> None:
        self._watch, self._claim = watch, claim
        self._pending = True
        self._called = False

    def begin(self) -> bool:
        """Post from now on; returns whether there was a call before, which was not posted."""
        self._pending = False
        return self._called

    def __call__(self) -> None:
        self._called = True  # before the next line, as `begin` reads it last: one of them notices
        if self._pending or self._watch.watcher.starts_read(self._claim):
            return

        self._pending = True
        self._watch.post_wake(self)

    def run(self) -> None:
        """Report the change; in the scheduler's thread."""
        self._pending = False
        self._watch.wake(self._claim)
