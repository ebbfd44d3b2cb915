"""What users iterate over: the changes of a candidate or a follower, for any number of readers.

A reader that is slow, or has gone away, costs nobody anything: events are queued here, and
never sent.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Self, TypeVar

from .eventcount import EventCount, snapshot
from .events import (
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

__all__ = ["Announcer", "Story"]

E = TypeVar("E", bound=Event)

_MOST_QUEUED = 1000


class Announcer(Generic[E]):
    """Wakes everybody who waits for a change, and queues events for every story.

    One thread announces, that of the scheduler; any thread, and a signal handler, may do the
    rest. There is no lock: see `eventcount`.

    Attributes:
        changed: notified after each change of the state of its owner.
        error: raised to the readers at the end, if it was an error that ended the story.

    Args:
        guard: raises where nothing may be touched, as in a forked child.
    """

    def __init__(self, guard: Callable[[], None]) -> None:
        self.changed = EventCount()
        self.error: Exception | None = None
        self.guard = guard
        self._stories: set[weakref.ref[Story[E]]] = set()
        self._announced = 0
        self._so_far: tuple[int, list[E]] = 0, []  # replaced, never changed

    def announce(self, event: E | None = None) -> None:
        """Wake the waiting; with an event, queue it for every story. Never blocks for long."""
        if event is not None:
            self._announced += 1
            _, before = self._so_far
            over = isinstance(event, Stopped)
            self._so_far = self._announced, [event] if over else shortened([*before, event])
            for reference in snapshot(self._stories):
                story = reference()
                if story is not None:
                    story.append(self._announced, event)
        self.changed.notify_all()

    def story(self) -> Story[E]:
        """Begin a story with where things stand; every later event is added to it."""
        story: Story[E] = Story(self)
        self._stories.add(weakref.ref(story, self._stories.discard))
        # From now on it gets every event, so one may come twice: the story leaves that out.
        story.begin(*self._so_far)
        return story

    def ended_story(self, event: E) -> Story[E]:
        """A story of that event alone, for who asks after the end has begun."""
        story = Story(self)
        story.begin(self._announced, [event])
        return story


class Story(Generic[E]):
    """An iterator over events; each step blocks until there is one.

    One that nobody reads keeps about 1,000 events: of the older ones, all that is over (a
    whole term, a whole outage) is left out.
    """

    def __init__(self, announcer: Announcer[E]) -> None:
        self._announcer = announcer
        self._so_far: deque[E] = deque()
        self._begins_after = 0  # the number of the last event that `_so_far` takes in
        self._queue: deque[tuple[int, E]] = deque()
        self._reading = threading.RLock()  # a signal handler may read, too
        self._over = False

    def begin(self, number: int, so_far: Iterable[E]) -> None:
        """Put before all others what was announced up to that number."""
        self._so_far.extend(so_far)
        self._begins_after = number

    def append(self, number: int, event: E) -> None:
        """Queue an event; in the announcing thread."""
        self._queue.append((number, event))
        # The thread that reads may hold the lock for as long as a signal handler takes.
        if len(self._queue) > _MOST_QUEUED and self._reading.acquire(blocking=False):
            try:
                queued = [one for one in self._queue if one[0] > self._begins_after]
                half = len(queued) // 2
                number = queued[half][0]
                older = shortened(event for _, event in queued[:half])
                self._queue = deque([(number, event) for event in older] + queued[half:])
            finally:
                self._reading.release()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> E:
        self._announcer.guard()
        while not self._over:
            event = self._announcer.changed.wait_for(self._take)
            if event is not None:
                self._over = isinstance(event, Stopped)
                return event
        if self._announcer.error is not None:
            raise self._announcer.error
        raise StopIteration

    def _take(self) -> E | None:
        with self._reading:
            if self._so_far:
                return self._so_far.popleft()
            while self._queue:
                number, event = self._queue.popleft()
                if number > self._begins_after:
                    return event
        return None


_ENDS: dict[type[Event], type[Event]] = {
    Resumed: Suspended,
    StoreUp: StoreDown,
    Lost: Campaigning,
    Resigned: Campaigning,
}
_REPLACES_LAST = (Campaigning, LeaderChanged)
_APART = (StoreDown, StoreUp)  # what the store does is not part of a term


def shortened(events: Iterable[E]) -> list[E]:
    """Leave out what is over: each end together with its beginning and what lies between."""
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
