"""Watcher: all watches of a store on one gRPC stream, which is opened again whenever it breaks.

A watch then continues at its next revision, so a break loses no event:
https://etcd.io/docs/v3.5/learning/api_guarantees/#watch-apis. Only if etcd has compacted that
revision away, or counts from another one, its listener is notified of a gap.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from leadership_core.backend import (
    StoreClosed,
    StoreRefused,
    StoreUnavailable,
    WatchDelivery,
    call_timeout,
    clock,
    remaining_timeout,
    start_daemon,
)

from .client import Client
from .compat import grpc
from .connection import Connection, ResponseStream
from .delayed import DelayedTasks
from .errors import InvalidResponse, is_response_too_large, map_error
from .rpc import WatchResult
from .watch_stream import StreamHealthCheck, Watch, WatchListener, WatchStream

__all__ = ["Watcher"]

log: logging.Logger = logging.getLogger(__name__)

_OPEN_TIMEOUT = 3.0  # seconds that opening a stream may take
_SHORT_OUTAGE = 0.5  # seconds: an outage that is no longer is not reported
_STEADY = 5.0  # seconds that a stream, or a watch, lasts where nothing is wrong
_MAX_BACKOFF = 2.0  # seconds
_MAX_REFUSED_BACKOFF = 30.0  # seconds, after etcd has refused a watch


class Watcher:
    """All watches of one store, with a thread of their own; thread-safe.

    Args:
        client: of the store.
        delayed: runs what has to be tried again later.

    Attributes:
        ended_streams: how many streams have ended; it grows before the next one begins.
    """

    def __init__(self, client: Client, delayed: DelayedTasks) -> None:
        self._client = client
        self._delayed = delayed
        self._lock = threading.Lock()
        self._watches: dict[Watch, None] = {}
        self._deliveries: WeakSet[WatchDelivery[Any]] = WeakSet()
        self._stream: WatchStream | None = None
        self._call: tuple[Connection, ResponseStream] | None = None
        self._failures = 0  # to get an answer, in a row
        self.ended_streams: int = 0
        self._breaks = 0  # of streams that have not lasted, in a row
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        client.on_endpoint_change(self._on_endpoint_change)

    @property
    def watches(self) -> list[Watch]:
        """The watches that are open, for tests and diagnosis."""
        with self._lock:
            return list(self._watches)

    def open(self, key: bytes, end: bytes, after: int, listener: WatchListener) -> Watch:
        """Report to the listener all events of a key, or a range, after a revision; does not block.

        Args:
            key: where the range begins.
            end: where it ends, itself left out; empty for the key alone.
            after: the revision.
            listener: called in the thread of the watcher.

        Raises:
            StoreClosed: the store was closed.
            NotApplied: the thread is not there yet and cannot be started now.
        """
        watch = Watch(key, end, after, listener, self._drop)
        with self._lock:
            if self._ended.is_set():
                raise StoreClosed("the etcd store is closed")
            if self._thread is None:
                self._thread = start_daemon(self._run, "leadership-etcd-watch")
            self._watches[watch] = None
            stream = self._stream
        if stream is not None:
            stream.create(watch)
        return watch

    def add_delivery(self, delivery: WatchDelivery[Any]) -> None:
        """Close this delivery, too, in `close`.

        Raises:
            StoreClosed: the store was closed.
        """
        with self._lock:
            if self._ended.is_set():
                raise StoreClosed("the etcd store is closed")
            self._deliveries.add(delivery)

    def close(self) -> None:
        """End all calls of callbacks; the thread ends soon."""
        with self._lock:
            self._ended.set()
            self._watches.clear()
            deliveries = list(self._deliveries)
        self._cancel_stream()
        for delivery in deliveries:
            delivery.close()

    def join(self) -> None:
        """Wait for the end of the thread, within the remaining timeout."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_timeout())

    def _drop(self, watch: Watch) -> None:
        with self._lock:
            self._watches.pop(watch, None)
            stream = self._stream
        if stream is not None:
            stream.cancel(watch)

    def _on_endpoint_change(self) -> None:
        call = self._call
        if call is not None and not self._client.is_current(call[0]):
            self._cancel_stream()

    def _cancel_stream(self) -> None:
        call = self._call
        if call is not None:
            call[1].cancel()

    # -- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            began = clock.now()
            try:
                self._run_stream()
            except StoreClosed:
                return
            except StoreUnavailable as error:
                # What broke the stream may well break the next one, which is opened at once.
                invalid = isinstance(error, InvalidResponse)
                if invalid or self._failures > 1 or clock.now() - began > _SHORT_OUTAGE:
                    self._report_unavailable(error)
            except Exception as error:  # the thread has to go on after any error
                log.exception("A watch has failed")
                self._report_unavailable(StoreUnavailable(f"a watch has failed: {error!r}"))
            # The first time at once: a server that is restarted breaks each stream it has.
            self._breaks = self._breaks + 1 if clock.now() - began < _STEADY else 0
            if troubles := max(self._failures, self._breaks - 1):
                self._ended.wait(_backoff(troubles))

    def _run_stream(self) -> None:
        """Open a stream, and handle its messages until it ends."""
        stream = WatchStream()
        self._failures += 1
        with call_timeout(_OPEN_TIMEOUT):
            connection, results = self._client.watch(stream.requests(), stream.notify_early)
        broken = False
        health: StreamHealthCheck | None = None
        try:
            health = StreamHealthCheck(self._client, connection, self._delayed, results.cancel)
            with self._lock:
                self._stream, self._call = stream, (connection, results)
                watches = list(self._watches)
            if self._ended.is_set() or not self._client.is_current(connection):
                return  # `close` or a change of the endpoint may have come before `_call` was set
            while watches:  # so that no variable keeps one while the stream lasts
                stream.create(watches.pop(0))
            for result in results:
                health.received()
                if not self._dispatch(stream, result):
                    self._failures = 0
                    return
                self._failures = 0
        except InvalidResponse:
            broken = True
            raise
        except grpc.RpcError as error:
            dead = health is not None and health.failed
            broken = dead or self._on_stream_error(connection, error)
        finally:
            if health is not None:
                health.stop()
            with self._lock:
                self._stream = self._call = None
                self.ended_streams += 1
            results.cancel()
            stream.end()
            self._client.end_watch(connection, broken=broken)

    def _on_stream_error(self, connection: Connection, error: grpc.RpcError) -> bool:
        """Report an outage if need be; returns whether the endpoint is of no use."""
        if self._ended.is_set() or error.code() is grpc.StatusCode.CANCELLED:
            return False
        problem = map_error(error, connection.endpoint, 0)
        log.debug("a stream has ended: %s", problem)
        self._client.forget_token()
        if is_response_too_large(error):
            # Continue after the events that are too long. The listeners read the state again, and
            # so find what has happened up to here.
            for watch in self.watches:
                watch.next_revision = max(watch.next_revision, self._client.revision + 1)
                _notify(watch.listener.on_gap)
        if self._failures > 1:
            self._report_unavailable(
                problem if isinstance(problem, StoreUnavailable) else StoreUnavailable(str(problem))
            )
        return True

    def _dispatch(self, stream: WatchStream, result: WatchResult) -> bool:
        """Pass a message on; False if the stream has to be opened again."""
        watch = stream.watch_of(result)
        if watch is None or watch.closed:
            return True
        if result.canceled:
            stream.remove(watch)
            return self._on_canceled(stream, watch, result)
        if result.created:
            watch.refusals = 0
            recovered, watch.unavailable = watch.unavailable, False
            if result.revision + 1 < watch.next_revision:
                # The server is behind the revisions that were reported: a member that lags, or
                # another history, as from a backup, in which that revision may be years away.
                stream.cancel(watch)
                watch.next_revision = result.revision + 1
                self._restart(stream, watch)
                _notify(watch.listener.on_gap)
            elif recovered:
                _notify(watch.listener.on_recovered)
        elif result.events:
            if not all(watch.covers(event.kv.key) for event in result.events):
                raise InvalidResponse("a watch reports a key that it does not cover")
            watch.next_revision = result.events[-1].kv.mod_revision + 1
            if watch.notified_early is not result:
                _notify(partial(watch.listener.on_events, result.events))
            watch.notified_early = None
        else:  # it reports how far it is
            watch.next_revision = max(watch.next_revision, result.revision + 1)
        return True

    def _on_canceled(self, stream: WatchStream, watch: Watch, result: WatchResult) -> bool:
        if result.compact_revision > watch.next_revision:
            watch.next_revision = result.compact_revision
            self._restart(stream, watch)
            _notify(watch.listener.on_gap)
            return True
        watch.refusals += 1
        self._client.forget_token()
        if watch.refusals == 1:
            return False  # most likely the token has expired with which the stream was opened
        reason = result.cancel_reason or "no reason given"
        watch.unavailable = True
        error = StoreRefused(f"etcd refuses a watch: {reason}")
        _notify(partial(watch.listener.on_unavailable, error))
        delay = min(_MAX_REFUSED_BACKOFF, 2.0**watch.refusals)
        self._delayed.call_later(delay, self._cancel_stream)
        return True

    def _restart(self, stream: WatchStream, watch: Watch) -> None:
        """Create a watch again: at once, or after a pause if it did not last since it was last."""
        now = clock.now()
        watch.restarts = watch.restarts + 1 if now - watch.restarted_at < _STEADY else 0
        watch.restarted_at = now
        if not watch.restarts:
            stream.create(watch)
            return

        def create() -> None:
            # A stream that was opened meanwhile has created it already.
            if not watch.closed and self._stream is stream:
                stream.create(watch)

        self._delayed.call_later(_backoff(watch.restarts), create)

    def _report_unavailable(self, error: StoreUnavailable) -> None:
        for watch in self.watches:
            if not watch.unavailable:
                watch.unavailable = True
                _notify(partial(watch.listener.on_unavailable, error))


def _backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row, with jitter."""
    longest = min(_MAX_BACKOFF, 0.05 * 2.0 ** min(failures, 10))
    return random.uniform(longest / 2, longest)


def _notify(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:  # other watches must not suffer from the error of one listener
        log.exception("A callback of a watch has failed")
