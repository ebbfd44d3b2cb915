"""All watches of a store on one stream, which is opened anew wherever it breaks.

A watch then goes on at the next revision, so a break loses no event. Only when etcd has
forgotten that revision, or counts from another one, its sink is told that there is a gap.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from leadership_core import clock
from leadership_core.budget import budget, remaining_budget
from leadership_core.delivery import WatchDelivery
from leadership_core.errors import StoreClosed, StoreRefused, StoreUnavailable
from leadership_core.threads import start_daemon

from .client import Client
from .connection import Connection
from .errands import Errands
from .errors import Senseless, is_too_long, translated
from .proto import grpc
from .pulse import Pulse
from .stream import Sink, Stream, Watch

__all__ = ["Watcher"]

log = logging.getLogger(__name__)

_OPEN = 3.0  # seconds that it may take to open a stream
_BLINK = 0.5  # seconds: to be away no longer is not worth telling
_STEADY = 5.0  # seconds that a stream lives where nothing is wrong
_CAP = 2.0  # seconds, the longest backoff
_REFUSED_CAP = 30.0  # and after etcd has refused a watch


class Watcher:
    """All watches of one store; safe for several threads.

    Args:
        client: where to watch.
        errands: who comes back to what is to be tried again later.
    """

    def __init__(self, client: Client, errands: Errands) -> None:
        self._client = client
        self._errands = errands
        self._lock = threading.Lock()
        self._watches: dict[Watch, None] = {}
        self._deliveries: WeakSet[WatchDelivery[Any]] = WeakSet()
        self._stream: Stream | None = None
        self._call: tuple[Connection, Any] | None = None
        self._failures = 0  # to get an answer, in a row
        self._breaks = 0  # of streams that have not lived long, in a row
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        client.on_move(self._moved)

    def open(self, key: bytes, end: bytes, after: int, sink: Sink) -> Watch:
        """Tell the sink of all that happens to a key, or a range, after a revision.

        Raises:
            StoreClosed: the store was closed.
        """
        watch = Watch(key, end, after, sink, self._drop)
        with self._lock:
            if self._ended.is_set():
                raise StoreClosed("the etcd store is closed")
            if self._thread is None:
                self._thread = start_daemon(self._run, "leadership-etcd-watch")
            self._watches[watch] = None
            stream = self._stream
        if stream is not None:
            stream.begin(watch)
        return watch

    def add_delivery(self, delivery: WatchDelivery[Any]) -> None:
        """Let `close` close it, too.

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
        self._cut()
        for delivery in deliveries:
            delivery.close()

    def join(self) -> None:
        """Wait for the thread's end, within the budget."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining_budget())

    def _drop(self, watch: Watch) -> None:
        with self._lock:
            self._watches.pop(watch, None)
            stream = self._stream
        if stream is not None:
            stream.cancel(watch)

    def _moved(self) -> None:
        call = self._call
        if call is not None and not self._client.is_current(call[0]):
            self._cut()

    def _cut(self) -> None:
        call = self._call
        if call is not None:
            call[1].cancel()

    # -- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            began = clock.now()
            try:
                self._carry_one()
            except StoreClosed:
                return
            except StoreUnavailable as error:
                # What broke the stream may well break the next one, that is opened at once.
                senseless = isinstance(error, Senseless)
                if senseless or self._failures > 1 or clock.now() - began > _BLINK:
                    self._tell_away(error)
            except Exception as error:  # the thread has to go on, whatever this is
                log.exception("A watch has failed")
                self._tell_away(StoreUnavailable(f"a watch has failed: {error!r}"))
            # The first time at once: a server that is restarted breaks each stream it has.
            self._breaks = self._breaks + 1 if clock.now() - began < _STEADY else 0
            if troubles := max(self._failures, self._breaks - 1):
                most = min(_CAP, 0.05 * 2.0 ** min(troubles, 10))
                self._ended.wait(random.uniform(most / 2, most))

    def _carry_one(self) -> None:
        """Open a stream, and live with it until it ends."""
        stream = Stream()
        self._failures += 1
        with budget(_OPEN):
            connection, answers = self._client.watch(stream.requests())
        broken = False
        pulse: Pulse | None = None
        try:
            pulse = Pulse(self._client, connection, self._errands, answers.cancel)
            with self._lock:
                self._stream, self._call = stream, (connection, answers)
                watches = list(self._watches)
            if self._ended.is_set() or not self._client.is_current(connection):
                return  # whoever wanted to cut it off may have come too early to find it
            while watches:  # so that none is kept by a variable while the stream lives
                stream.begin(watches.pop(0))
            for answer in answers:
                pulse.heard()
                if not self._take(stream, answer):
                    self._failures = 0
                    return
                self._failures = 0
        except Senseless:
            broken = True
            raise
        except grpc.RpcError as error:
            broken = (pulse is not None and pulse.missed) or self._explain(connection, error)
        finally:
            if pulse is not None:
                pulse.stop()
            with self._lock:
                self._stream = self._call = None
            answers.cancel()
            stream.end()
            self._client.end_watch(connection, broken=broken)

    def _explain(self, connection: Connection, error: grpc.RpcError) -> bool:
        """Whether a stream that has ended says that the endpoint is of no use."""
        if self._ended.is_set() or error.code() is grpc.StatusCode.CANCELLED:
            return False
        problem = translated(error, connection.endpoint, 0)
        log.debug("a stream has ended: %s", problem)
        self._client.forget_token()
        if is_too_long(error):
            self._skip()
        if self._failures > 1:
            self._tell_away(
                problem if isinstance(problem, StoreUnavailable) else StoreUnavailable(str(problem))
            )
        return True

    def _skip(self) -> None:
        """Go on after what is too long to be told, and say that there is a gap."""
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            # Whoever is told of the gap looks after this, and finds what happened up to here.
            watch.next = max(watch.next, self._client.revision + 1)
            _tell(watch.sink.gap)

    def _take(self, stream: Stream, answer: Any) -> bool:
        """Pass an answer on; False if the stream has to be opened anew."""
        watch = stream.watch_of(answer)
        if watch is None or watch.closed:
            return True
        if answer.canceled:
            stream.forget(watch)
            return self._cancelled(stream, watch, answer)
        if answer.created:
            self._created(stream, watch, answer.header.revision)
        elif answer.events:
            if not all(watch.covers(event.kv.key) for event in answer.events):
                raise Senseless("a watch tells of a key that was not asked for")
            watch.next = answer.events[-1].kv.mod_revision + 1
            _tell(partial(watch.sink.changed, answer.events))
        else:
            watch.next = max(watch.next, answer.header.revision + 1)  # it says how far it is
        return True

    def _created(self, stream: Stream, watch: Watch, revision: int) -> None:
        watch.refusals = 0
        if revision + 1 < watch.next:
            # It has not come as far as what we have seen: a member that lags behind, or another
            # history, as from a backup, in which that revision may be years away.
            stream.cancel(watch)
            watch.next = revision + 1
            stream.begin(watch)
            watch.away = False
            _tell(watch.sink.gap)
        elif watch.away:
            watch.away = False
            _tell(watch.sink.back)

    def _cancelled(self, stream: Stream, watch: Watch, answer: Any) -> bool:
        if answer.compact_revision > watch.next:
            watch.next = answer.compact_revision
            stream.begin(watch)
            _tell(watch.sink.gap)
            return True
        watch.refusals += 1
        self._client.forget_token()
        if watch.refusals == 1:
            return False  # most likely the token has expired, which the stream began with
        error = StoreRefused(
            f"etcd refuses a watch: {answer.cancel_reason or 'it does not say why'}"
        )
        watch.away = True
        _tell(partial(watch.sink.away, error))
        self._errands.add(self._cut, min(_REFUSED_CAP, 2.0**watch.refusals))
        return True

    def _tell_away(self, error: StoreUnavailable) -> None:
        with self._lock:
            watches = [watch for watch in self._watches if not watch.away]
        for watch in watches:
            watch.away = True
            _tell(partial(watch.sink.away, error))


def _tell(what: Callable[[], None]) -> None:
    try:
        what()
    except Exception:  # whatever it does, the other watches are not to suffer
        log.exception("A callback of a watch has failed")
