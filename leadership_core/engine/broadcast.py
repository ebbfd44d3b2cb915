"""Broadcast of events to any number of independent iterators; unread events are compacted.

A slow or absent reader delays nothing: events are queued, and read by the reader's own thread.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from ..backend.event_count import EventCount, Wait, Waits
from ..events import (
    Campaigning,
    Event,
    LeaderChanged,
    Lost,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)
from .waiting_iterator import End, WaitingIterator

__all__ = ["EventBroadcaster", "EventStream", "compact_events"]

E = TypeVar("E", bound=Event)

_MOST_QUEUED = 1000


class EventBroadcaster(Generic[E]):
    """Wakes all threads that wait for a change, and queues events for every stream.

    Only the scheduler's thread publishes; any thread, and a signal handler, may do the rest.
    There is no lock: see `backend.event_count`.

    Attributes:
        changed: notified after each change of the state of its owner.
        error: raised to the readers at the end, if it was an error that ended the events.
        on_event: called after each event, in the publishing thread.

    Args:
        guard: raises `ForkedStore` in a forked child.
    """

    _streams: Sequence[weakref.ref[EventStream[E]]] = ()  # before the first one

    def __init__(self, guard: Callable[[], None]) -> None:
        self.changed: EventCount = EventCount()
        self.error: Exception | None = None
        self.on_event: Callable[[], object] | None = None
        self.guard = guard
        self._published = 0
        self._so_far: tuple[int, list[E]] = 0, []  # replaced, never changed

    @property
    def has_published(self) -> bool:
        """Whether there was any event yet."""
        return self._published > 0

    @property
    def is_over(self) -> bool:
        """Whether the last event was published."""
        _, so_far = self._so_far
        return bool(so_far) and isinstance(so_far[-1], Stopped)

    def publish(self, event: E | None = None) -> None:
        """Wake all that wait; with an event, queue it for every stream. Never blocks for long."""
        if event is not None:
            self._published += 1
            _, before = self._so_far
            over = isinstance(event, Stopped)
            self._so_far = self._published, [event] if over else compact_events([*before, event])
            for reference in tuple(self._streams):
                stream = reference()
                if stream is not None:
                    stream.append(self._published, event)
            if self.on_event is not None:
                self.on_event()
        self.changed.notify_all()

    def stream(self) -> EventStream[E]:
        """Return a stream of the events that describe the present state, and of every later one."""
        stream: EventStream[E] = EventStream(self)
        # Made once, also where two threads come here; changed by single operations only.
        streams: list[weakref.ref[EventStream[E]]] = vars(self).setdefault("_streams", [])
        streams.append(weakref.ref(stream, streams.remove))
        # From now on it gets every event, so one may come twice: the stream skips the second.
        stream.begin(*self._so_far)
        return stream

    def ended_stream(self, event: E) -> EventStream[E]:
        """Return a stream of that event alone, for a reader that comes after the end has begun."""
        stream = EventStream(self)
        stream.begin(self._published, [event])
        return stream


class EventStream(WaitingIterator[E]):
    """An iterator over events; each step blocks until there is one.

    An unread stream keeps about 1,000 events: of the older ones, whatever is over (a whole term, a
    whole outage) is dropped.

    Args:
        broadcaster: the source of the events.
    """

    def __init__(self, broadcaster: EventBroadcaster[E]) -> None:
        self._broadcaster = broadcaster
        self._so_far: deque[E] = deque()
        self._begins_after = 0  # the number of the last event that `_so_far` includes
        self._queue: deque[tuple[int, E]] = deque()
        self._reading = threading.RLock()  # a signal handler may read, too
        self._over = False

    def begin(self, number: int, so_far: Iterable[E]) -> None:
        """Begin with these events, which stand for all that was published up to that number."""
        self._so_far.extend(so_far)
        self._begins_after = number

    def append(self, number: int, event: E) -> None:
        """Queue an event; in the publishing thread."""
        self._queue.append((number, event))
        # The thread that reads may hold the lock for as long as a signal handler takes.
        if len(self._queue) > _MOST_QUEUED and self._reading.acquire(blocking=False):
            try:
                queued = [one for one in self._queue if one[0] > self._begins_after]
                half = len(queued) // 2
                number = queued[half][0]
                older = compact_events(event for _, event in queued[:half])
                self._queue = deque([(number, event) for event in older] + queued[half:])
            finally:
                self._reading.release()

    def step(self) -> Waits[E | End]:
        """Wait for the next event, and return it."""
        self._broadcaster.guard()
        while not self._over:
            event = self.take()
            if event is not None:
                return event
            yield Wait(self._broadcaster.changed, self._has_events)
        if self._broadcaster.error is not None:
            raise self._broadcaster.error
        return End.END

    def _has_events(self) -> bool:
        # An event that the stream skips counts, too: `take` is called again then.
        return bool(self._so_far or self._queue) or self._over

    def take(self) -> E | None:
        """Return the next event, if there is one; does not wait."""
        with self._reading:
            event = self._so_far.popleft() if self._so_far else None
            while event is None and self._queue:
                number, queued = self._queue.popleft()
                if number > self._begins_after:
                    event = queued
        if isinstance(event, Stopped):
            self._over = True
            self._broadcaster.changed.notify_all()  # another thread may read the same stream
        return event

    @property
    def over(self) -> bool:
        """Whether the last event was read."""
        return self._over


_ENDS: dict[type[Event], type[Event]] = {
    Resumed: Suspended,
    StoreUp: StoreDown,
    Lost: Campaigning,
    Resigned: Campaigning,
}
_REPLACES_LAST = (Campaigning, LeaderChanged)
_APART = (StoreDown, StoreUp)  # what the store does is not part of a term


def compact_events(events: Iterable[E]) -> list[E]:
    """Drop what is over: each end together with its beginning and what lies between."""
    kept: list[E] = []
    for event in events:
        begins = _ENDS.get(type(event), type(event) if isinstance(event, _REPLACES_LAST) else None)
        at = next((i for i in reversed(range(len(kept))) if type(kept[i]) is begins), None)
        if at is not None and isinstance(event, (Resumed, StoreUp, LeaderChanged)):
            del kept[at]
        elif at is not None:
            kept[at:] = [one for one in kept[at:] if isinstance(one, _APART)]
        if at is None or isinstance(event, _REPLACES_LAST):
            kept.append(event)
    return kept
