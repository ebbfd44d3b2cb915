"""The watch of one candidate's claim; reports changes in the scheduler's thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..backend.protocols import Claim, Closable, Election
from ..errors import ConfigurationError, StoreError
from .context import EngineContext
from .executors import call
from .instrumentation import WatchObservation

__all__ = ["ClaimWatch"]

_CLOSE_SECONDS = 5.0


class ClaimWatch:
    """Watches the latest claim; used in the scheduler's thread, except for `arm`.

    Args:
        context: whose scheduler and threads to use.
        election: which the claims are in.
        key: of the election, with the prefix.
        on_wake: called with the claim in the thread of the store's watch; whether that is enough.
        on_change: called in the scheduler's thread when the status of the claim may have changed.
    """

    __slots__ = (
        *("_claim", "_election", "_observed", "_on_change", "_on_wake", "_post", "_store"),
        *("_submit", "_watch"),
    )

    def __init__(
        self,
        context: EngineContext,
        election: Election,
        key: str,
        on_wake: Callable[[Claim], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._post = context.scheduler.post
        self._store = context.store
        self._observed = WatchObservation(context.store, key, "claim")
        self._submit = context.requests.submit
        self._election = election
        self._on_wake = on_wake
        self._on_change = on_change
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
        wakeup = _CoalescedWakeup(
            self._post, partial(self.wake, claim), partial(self._on_wake, claim)
        )

        def armed() -> None:
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
                self._store,
                "watch_claim",
                claim.key,
            )
        except (StoreError, ConfigurationError):
            self._observed.note(failed=True)
            self._post(not_armed)
            raise
        woken = wakeup.begin()
        self._post(armed)
        return woken

    def drop(self) -> None:
        """Watch nothing any more."""
        watch, self._watch, self._claim = self._watch, None, None
        if watch is not None:
            self._close(watch)

    def wake(self, claim: Claim) -> None:
        """Note that the status of the claim may have changed."""
        if self._claim is claim:
            self._on_change()

    def _close(self, watch: Closable) -> None:
        self._submit(lambda: call(_CLOSE_SECONDS, watch.close, self._store, "close_watch"))


class _CoalescedWakeup:
    """Posts a task once, however often the store calls before the scheduler has run it.

    It begins when the watch has been made: the status is read after that, so nothing is missed.

    Args:
        post: runs a task in the scheduler's thread.
        task: which.
        instead: called first, in the thread of the store; True if the task is not needed.
    """

    __slots__ = ("_called", "_instead", "_pending", "_post", "_task")

    def __init__(
        self,
        post: Callable[[Callable[[], None]], object],
        task: Callable[[], None],
        instead: Callable[[], bool],
    ) -> None:
        self._post = post
        self._task = task
        self._instead = instead
        self._pending = True
        self._called = False

    def begin(self) -> bool:
        """Post from now on; returns whether there was a call before, which was not posted."""
        self._pending = False
        return self._called

    def __call__(self) -> None:
        self._called = True  # before the next line, as `begin` reads it last: one of them notices
        if self._pending or self._instead():
            return

        self._pending = True
        self._post(self._run)

    def _run(self) -> None:
        self._pending = False
        self._task()
