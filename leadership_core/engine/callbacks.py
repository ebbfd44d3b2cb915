"""Callbacks: functions of the user that are called with events, on a thread of their own.

What a callback does cannot hurt the election: the scheduler only queues a job, and the callback may
block, raise, and call every method of its candidate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakSet

from ..backend.event_count import snapshot
from ..backend.validation import refuse_unrun, safe_repr
from ..errors import ForkedStore
from ..events import Event
from .broadcast import EventBroadcaster, EventStream
from .event_log import EventLog
from .scheduler import Scheduler
from .serial_thread import SerialThread

__all__ = ["Call", "Callbacks", "Listener", "active_callbacks"]

E = TypeVar("E", bound=Event)

active_callbacks: WeakSet[Callbacks[Event]] = WeakSet()
"""Those that have called something, or will: the exit of the process waits for them a moment."""


class Call(NamedTuple):
    """A call of one function of the user.

    Attributes:
        name: of the parameter through which the function was passed.
        function: of the user.
        argument: to call it with.
        token: of the term that the call is about, for the log.
    """

    name: str
    function: Callable[..., object]
    argument: object
    token: int | None = None


class Listener(Generic[E]):
    """One registration of a callback: the user's `Closable`.

    Args:
        stream: the events.
        call_of: returns the call that an event leads to, or None.
    """

    def __init__(self, stream: EventStream[E], call_of: Callable[[E], Call | None]) -> None:
        self.stream = stream
        self.call_of = call_of
        self.closed: bool = False

    def close(self) -> None:
        """Begin no further call; one that is under way goes on. From any thread."""
        self.closed = True


class Callbacks(Generic[E]):
    """Calls functions with the events of one candidate or follower, one at a time, in order.

    The thread starts with the first event, and ends after `Stopped`.

    Args:
        broadcaster: the source of the events.
        events: where exceptions of callbacks are logged.
        value: the candidate's, for the log; None for a follower.
        scheduler: in whose thread the thread is started.
    """

    def __init__(
        self,
        broadcaster: EventBroadcaster[E],
        events: EventLog,
        value: str | None,
        scheduler: Scheduler,
    ) -> None:
        self._broadcaster = broadcaster
        self._log = events
        self._value = value
        self._scheduler = scheduler
        self._listeners: dict[Listener[E], None] = {}  # in the order in which they were added
        self._thread = SerialThread("leadership-callbacks", scheduler)
        self._queued = self._delivering = self._reported = False

    def add(self, stream: EventStream[E], call_of: Callable[[E], Call | None]) -> Listener[E]:
        """Call a function for the events of the stream; from any thread."""
        listener = Listener(stream, call_of)
        self._listeners[listener] = None
        self._broadcaster.on_event = self.wake
        # Before the first event there is nothing to deliver, and perhaps no scheduler.
        if self._broadcaster.has_published and not self._scheduler.post(self.wake, or_here=True):
            self.wake()  # its thread has ended
        return listener

    @property
    def busy(self) -> bool:
        """Whether a call is under way, or events are waiting for one."""
        return self._queued or self._delivering

    def wake(self) -> None:
        """Deliver the queued events soon; in the scheduler's thread, while there is one."""
        if not self._queued:
            self._queued = True
            active_callbacks.add(self)  # type: ignore[arg-type]  # only `busy` is read there
            self._thread.submit(self._deliver)

    # -- in the thread of the callbacks ------------------------------------------------------

    def _deliver(self) -> None:
        """Call the functions for all events that are queued: one event of each listener in turn."""
        self._delivering, self._queued = True, False
        try:
            found = True
            while found:
                found = False
                for listener in snapshot(self._listeners):
                    event = None if listener.closed else listener.stream.take()
                    call = None if event is None else listener.call_of(event)
                    found |= event is not None
                    if call is not None:
                        self._make(call)
                        if self._forked():
                            return
                    if listener.closed or listener.stream.over:
                        self._listeners.pop(listener, None)
            if self._broadcaster.is_over and not self._listeners:
                self._report_error()
                self._thread.end()
        finally:
            self._delivering = False

    def _make(self, call: Call) -> None:
        try:
            refuse_unrun(call.name, call.function, call.function(call.argument))
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it would end the next calls
            facts = f": {call.name}, {safe_repr(call.function)}, has raised {safe_repr(error)}"
            with suppress(BaseException):  # logging allocates memory, and may fail, too
                self._log.write(
                    logging.ERROR,
                    "callback_failed",
                    facts,
                    value=self._value,
                    token=call.token,
                    exc_info=error,
                )

    def _forked(self) -> bool:
        """Whether the callback has forked this process: the child makes no further call."""
        try:
            self._broadcaster.guard()
        except ForkedStore:
            return True
        return False

    def _report_error(self) -> None:
        """Log the error that has ended the events, which only iterators raise."""
        error = self._broadcaster.error
        if error is not None and not self._reported:
            self._reported = True
            self._log.write(logging.ERROR, "ended", f" by an error: {error}", value=self._value)
