"""One gRPC stream that carries any number of watches, until it breaks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from leadership_core.errors import StoreUnavailable

from .errors import Senseless
from .proto import rpc

__all__ = ["Sink", "Stream", "Watch"]


class Sink(Protocol):
    """Who wants to hear of a watch; called by one thread at a time, with no lock held."""

    def changed(self, events: Sequence[Any]) -> None:
        """These events happened, in this order, and nothing in between."""

    def gap(self) -> None:
        """What has happened lately is not known, and nobody will tell."""

    def away(self, error: StoreUnavailable) -> None:
        """The store cannot be reached."""

    def back(self) -> None:
        """It can again; what happened meanwhile is told next."""


class Watch:
    """A key, or a range, whose events somebody wants; closed from any thread.

    Attributes:
        key, end: where.
        next: the first revision that it has not told of.
        sink: whom it tells.
        id: what the stream of now calls it.
    """

    def __init__(
        self, key: bytes, end: bytes, after: int, sink: Sink, drop: Callable[[Watch], None]
    ) -> None:
        self.key, self.end, self.next, self.sink = key, end, after + 1, sink
        self.id: int | None = None
        self.closed = False
        self.away = False
        self.refusals = 0
        self._drop = drop

    def close(self) -> None:
        """Tell nothing more; may be called again."""
        if not self.closed:
            self.closed = True
            self._drop(self)

    def covers(self, key: bytes) -> bool:
        """Whether it was asked for what happens to that key."""
        if not self.end:
            return key == self.key
        return self.key <= key and (self.end == b"\0" or key < self.end)

    def request(self) -> Any:
        """What asks etcd for it."""
        return rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=self.key, range_end=self.end, start_revision=self.next, progress_notify=True
            )
        )


class Stream:
    """What is sent on one stream, and which of its watches an answer belongs to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._asked: deque[Watch] = deque()  # etcd answers them in their order
        self._told: dict[int, Watch] = {}

    def requests(self) -> Iterator[Any]:
        """What gRPC is to send; it takes this in a thread of its own."""
        threading.current_thread().name = "leadership-etcd-send"
        yield from iter(self._outbox.get, None)

    def begin(self, watch: Watch) -> None:
        """Ask for a watch."""
        with self._lock:  # so that both have one order
            watch.id = None
            self._asked.append(watch)
            self._outbox.put(watch.request())

    def cancel(self, watch: Watch) -> None:
        """Ask for no more events of it."""
        with self._lock:
            if watch.id is not None and self._told.pop(watch.id, None) is not None:
                self._outbox.put(_cancel(watch.id))

    def end(self) -> None:
        """Nothing is sent any more."""
        self._outbox.put(None)

    def watch_of(self, answer: Any) -> Watch | None:
        """Whose answer it is; None if nobody wants it any more.

        Raises:
            Senseless: it answers what was not asked.
        """
        with self._lock:
            if not answer.created:
                return self._told.get(answer.watch_id)
            if not self._asked:
                raise Senseless("a watch was begun that was not asked for")
            watch = self._asked.popleft()
            if answer.canceled:
                return watch
            if watch.closed:
                self._outbox.put(_cancel(answer.watch_id))
                return None
            watch.id = answer.watch_id
            self._told[answer.watch_id] = watch
            return watch

    def forget(self, watch: Watch) -> None:
        """Etcd has ended it."""
        with self._lock:
            if watch.id is not None:
                self._told.pop(watch.id, None)
                watch.id = None


def _cancel(number: int) -> Any:
    return rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=number))
