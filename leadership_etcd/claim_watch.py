"""Watch of a claim: of its own key, and of the keys of the two claims before it.

etcd's own clients watch the claim before, too, and so only the next candidate is woken when one leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from leadership_core.backend import StoreUnavailable, WatchDelivery

from .rpc import WatchEvent
from .watch import Watcher
from .watch_stream import Watch

__all__ = ["ClaimWatch"]


class ClaimWatch:
    """Calls `wake` whenever the status of a claim may have changed; thread-safe.

    It also knows when its reports prove that the claim is the first: the keys before it were read,
    and all of them were reported deleted since. No key can join them, because new keys get larger
    create revisions.

    Attributes:
        deleted: etcd has reported that the claim's own key was deleted, which is final: a key that
            is created later has another create revision.

    Args:
        watcher: of the store.
        claim_key: the claim's own key.
        token: its create revision.
        wake: called in a thread of gRPC or of the watcher; must not wait.
        look_ahead: called in such a thread, too, when the end of the claim before the nearest one
            leaves unknown which keys are before this claim; must not wait.

    Raises:
        StoreClosed: the store was closed.
    """

    __slots__ = (
        *("__weakref__", "_before", "_claim_key", "_closed", "_delivery", "_era", "_known_at"),
        *("_known_in", "_lock", "_look_ahead", "_own", "_own_changed", "_predecessors", "_quiet"),
        *("_state", "_token", "_unreported", "_watcher", "deleted"),
    )

    never_waits = True  # it sets flags, and lets the engine start a read

    def __init__(
        self,
        watcher: Watcher,
        claim_key: bytes,
        token: int,
        wake: Callable[[], None],
        look_ahead: Callable[[], None] | None = None,
    ) -> None:
        self._watcher = watcher
        self._look_ahead = look_ahead

        def stop() -> None:
            with self._lock:
                self._closed, self._look_ahead = True, None  # it refers to the claim
                watches = [self._own, *self._predecessors]
            for watch in watches:
                watch.close()

        self._delivery: WatchDelivery[None] = WatchDelivery(lambda _: wake(), stop)
        self._lock = threading.Lock()
        self._closed = False
        self._predecessors: tuple[Watch, ...] = ()  # the nearest first
        self._claim_key, self._token = claim_key, token
        self.deleted: bool = False
        # What is known of the queue. With a lock of its own, under which nothing is called.
        self._state = threading.Lock()
        self._before: frozenset[bytes] | None = None  # keys that were not reported deleted
        self._known_at = 0  # the revision of the read that has shown them
        self._known_in: object = None  # the `moment` of that read
        self._own_changed = False
        self._era = object()  # replaced when events may be missing
        self._quiet: frozenset[bytes] = frozenset()  # keys whose events do not call `wake`
        self._unreported: dict[bytes, int] = {}  # the latest revisions of such events
        self._own = watcher.open(claim_key, b"", token, self)
        watcher.add_delivery(self._delivery)

    def watch_predecessors(self, keys: Sequence[bytes], after: int) -> None:
        """Watch these claims, too, and no others any more; only events of the nearest call `wake`.

        Args:
            keys: of the claims before this one, the nearest first.
            after: the revision as of which they are that; later events are reported.
        """
        with self._lock:
            if self._closed:
                return
            with self._state:
                self._quiet = frozenset()  # until it is certain which is the nearest
                # The nearest one may have been the one before until now, and have had its event.
                missed = any(self._unreported.get(key, 0) > after for key in keys)
                self._unreported.clear()
            former = {watch.key: watch for watch in self._predecessors}
            self._predecessors = tuple(
                former.pop(key) if key in former else self._watcher.open(key, b"", after, self)
                for key in keys
            )
            with self._state:
                self._quiet = frozenset(keys[1:])
        for watch in former.values():
            watch.close()
        if missed:
            self._delivery.publish(None)

    def close(self) -> None:
        """End the calls of `wake`; see `WatchDelivery.close`."""
        self._delivery.close()

    # -- what is known of the queue ----------------------------------------------------------

    def moment(self) -> object:
        """Equal as long as no event can be missing: to be taken before the queue is read."""
        return self._watcher.ended_streams, self._era

    def note_queue(self, before: frozenset[bytes] | None, revision: int, moment: object) -> None:
        """Note a read that has shown the claim intact.

        Args:
            before: all keys before it, those of claims and others; None if some were not read.
            revision: as of which that is so.
            moment: before the read was requested.
        """
        with self._state:
            if moment == self.moment():
                self._before, self._known_at, self._known_in = before, revision, moment

    def forget_queue(self) -> None:
        """Reports up to now prove nothing any more."""
        with self._state:
            self._era, self._before = object(), None

    @property
    def is_reported_first(self) -> bool:
        """Whether reports prove that the claim is the first, and nothing was reported about itself.

        All of it came on one stream since the queue was read. A new stream may be one of a member
        that lags behind.
        """
        with self._state:
            return (
                self._before is not None
                and not self._before
                and not self._own_changed
                and self._own.id is not None  # it is being watched at this moment
                and not self._closed
                and self._known_in == self.moment()
            )

    # -- called by the watcher ---------------------------------------------------------------

    def on_events(self, events: Sequence[WatchEvent]) -> None:
        with self._state:
            was_first = self._before is not None and not self._before
            for event in events:
                key, revision = event.kv.key, event.kv.mod_revision
                if key == self._claim_key:
                    self._own_changed |= revision > self._token
                    self.deleted |= event.deleted and revision > self._token
                elif event.deleted and self._before is not None and revision > self._known_at:
                    self._before -= {key}
                if key in self._quiet:
                    self._unreported[key] = revision
            changed = {event.kv.key for event in events}
            quiet = changed <= self._quiet
            unknown = self._before is None or len(self._before) > 1
        if not quiet:
            if self._claim_key in changed or not was_first:  # else it is an end of no importance
                self._delivery.publish(None)
        elif unknown and (look_ahead := self._look_ahead) is not None:
            look_ahead()

    def on_gap(self) -> None:
        self.forget_queue()
        self._delivery.publish(None)

    def on_unavailable(self, error: StoreUnavailable) -> None:
        pass  # the renewals of the session notice it

    def on_recovered(self) -> None:
        pass  # what has happened meanwhile follows as events
