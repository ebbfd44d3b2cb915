"""One gRPC stream that carries any number of watches until it breaks, and the check of its health.

See https://etcd.io/docs/v3.5/learning/api/#watch-api
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from leadership_core.backend import StoreUnavailable, clock

from .client import Client
from .compat import pb
from .connection import Connection
from .delayed import DelayedTasks
from .errors import InvalidResponse
from .rpc import WatchEvent, WatchResult

__all__ = ["StreamHealthCheck", "Watch", "WatchListener", "WatchStream"]

_PROBE_AFTER = 3.0  # seconds of silence after which the connection is probed
_PROBE_TIMEOUT = 1.5  # seconds


class WatchListener(Protocol):
    """Receiver of what a watch reports; called by one thread at a time, with no lock held.

    Attributes:
        never_waits: `on_events` returns at once and takes no lock under which another thread waits
            for gRPC; so it is called in gRPC's own thread, which saves a change of threads.
    """

    never_waits: bool

    def on_events(self, events: Sequence[WatchEvent]) -> None:
        """These events happened, in this order, and none in between."""

    def on_gap(self) -> None:
        """Events may be missing, and will not be reported."""

    def on_unavailable(self, error: StoreUnavailable) -> None:
        """The store cannot be reached."""

    def on_recovered(self) -> None:
        """The store can be reached again; what happened meanwhile follows as events."""


class Watch:
    """A key or a range whose events a listener gets; closed from any thread.

    Attributes:
        key, end: the range; `end` is empty for the key alone.
        next_revision: the first one that was not reported yet.
        listener: who gets the events.
        id: the present stream's number of it.
        closed: no more is reported.
        unavailable: its listener knows that the store cannot be reached.
        refusals: of this watch by etcd, in a row.
        restarts: of this watch by us, each soon after the one before.
        restarted_at: when that was last.
        notified_early: the message of which its listener knows, and that is not dispatched yet.
    """

    def __init__(
        self,
        key: bytes,
        end: bytes,
        after: int,
        listener: WatchListener,
        drop: Callable[[Watch], None],
    ) -> None:
        self.key: bytes = key
        self.end: bytes = end
        self.listener: WatchListener = listener
        self.next_revision: int = after + 1
        self.id: int | None = None
        self.closed: bool = False
        self.unavailable = False
        self.refusals = 0
        self.restarts = 0
        self.restarted_at: float = -math.inf
        self.notified_early: WatchResult | None = None
        self._drop = drop

    def close(self) -> None:
        """Report nothing more; may be called again."""
        if not self.closed:
            self.closed = True
            self._drop(self)

    def covers(self, key: bytes) -> bool:
        """Whether the events of that key belong to this watch."""
        if not self.end:
            return key == self.key
        return self.key <= key and (self.end == b"\0" or key < self.end)

    def request(self) -> Any:
        """The request that creates it, from the next revision on.

        `progress_notify` lets etcd say now and then how far a quiet watch is, so that it does not
        fall behind a compaction: https://etcd.io/docs/v3.5/learning/api/#watch-streams
        """
        return pb.WatchRequest(
            create_request=pb.WatchCreateRequest(
                key=self.key,
                range_end=self.end,
                start_revision=self.next_revision,
                progress_notify=True,
            )
        )


class WatchStream:
    """The requests of one stream, and the watches that its messages belong to; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._pending: deque[Watch] = deque()  # etcd answers them in their order
        self._active: dict[int, Watch] = {}

    def requests(self) -> Iterator[Any]:
        """What gRPC is to send; it iterates over this in a thread of its own."""
        threading.current_thread().name = "leadership-etcd-send"
        yield from iter(self._outbox.get, None)

    def create(self, watch: Watch) -> None:
        """Ask etcd to create a watch."""
        with self._lock:  # so that both have one order
            watch.id = None
            self._pending.append(watch)
            self._outbox.put(watch.request())

    def cancel(self, watch: Watch) -> None:
        """Ask etcd for no more events of a watch."""
        with self._lock:
            if watch.id is not None and self._active.pop(watch.id, None) is not None:
                self._outbox.put(_cancel_request(watch.id))

    def end(self) -> None:
        """Send nothing any more."""
        self._outbox.put(None)

    def watch_of(self, result: WatchResult) -> Watch | None:
        """The watch that a message is about; None if it was closed.

        Raises:
            InvalidResponse: it answers a request that was not made.
        """
        with self._lock:
            if not result.created:
                return self._active.get(result.watch_id)
            if not self._pending:
                raise InvalidResponse("a watch was created that was not requested")
            watch = self._pending.popleft()
            if result.canceled:
                return watch
            if watch.closed:
                self._outbox.put(_cancel_request(result.watch_id))
                return None
            watch.id = result.watch_id
            self._active[result.watch_id] = watch
            return watch

    def notify_early(self, result: WatchResult) -> None:
        """Pass events to a listener that never waits; in gRPC's thread, with a lock of the call.

        All else is done when the watcher dispatches the message, which needs a change of threads: it
        has to be the one to take the next message from gRPC.
        """
        with self._lock:
            watch = self._active.get(result.watch_id)
        if watch is None or watch.closed or not watch.listener.never_waits:
            return
        if result.events and all(watch.covers(event.kv.key) for event in result.events):
            watch.listener.on_events(result.events)
            watch.notified_early = result

    def remove(self, watch: Watch) -> None:
        """Note that etcd has cancelled a watch."""
        with self._lock:
            if watch.id is not None:
                self._active.pop(watch.id, None)
                watch.id = None


def _cancel_request(watch_id: int) -> Any:
    return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id))


class StreamHealthCheck:
    """Detects a stream that is dead but not closed, by probing its connection while it is silent.

    A router may forget a connection that is idle, and the pings of HTTP/2 are slow to notice: etcd
    closes connections that send them more often than every 5 s. A small call may be made more often.

    Args:
        client, connection: of the stream.
        delayed: makes the probes.
        on_dead: called once if one gets no answer; it must not block.

    Attributes:
        failed: a probe has got no answer.
    """

    def __init__(
        self,
        client: Client,
        connection: Connection,
        delayed: DelayedTasks,
        on_dead: Callable[[], object],
    ) -> None:
        self.failed = False
        self._client, self._connection = client, connection
        self._delayed = delayed
        self._on_dead = on_dead
        self._last_received = clock.now()
        self._stopped = False
        delayed.call_later(_PROBE_AFTER, self._check)

    def received(self) -> None:
        """Note that a message has come."""
        self._last_received = clock.now()

    def stop(self) -> None:
        """Make no more probes; may be called again."""
        self._stopped = True

    def _check(self) -> None:
        def on_probe_result(alive: bool) -> None:
            if alive:
                self.received()
            elif not self._stopped:
                self._stopped = self.failed = True
                self._on_dead()

        if self._stopped:
            return
        wait = self._last_received + _PROBE_AFTER - clock.now()
        if wait <= 0:
            self._client.probe(self._connection, _PROBE_TIMEOUT, on_probe_result)
            wait = _PROBE_AFTER
        self._delayed.call_later(wait, self._check)
