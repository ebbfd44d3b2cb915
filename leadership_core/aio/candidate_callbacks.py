"""Callbacks of a candidate, called in an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..engine.candidate_control import CandidateControl
from ..events import Lost, Resigned, Stopped
from .callbacks import Callbacks, check_function
from .ready import ReadyInLoop
from .term import CandidateEvent, Elected, Term, asyncio_event

__all__ = ["CandidateCallbacks", "OnElected", "OnLost"]

OnElected: TypeAlias = Callable[[Term], Awaitable[object] | object]
OnLost: TypeAlias = Callable[[Lost | Resigned], Awaitable[object] | object]


class CandidateCallbacks:
    """The callbacks of one candidate.

    Args:
        control: of the candidate.
        on_elected: the function or coroutine function of the program, or None.
        on_lost: as well.
        ready: asks whether the program can lead, or None.

    Raises:
        ConfigurationError: one of them cannot be called with its argument.
    """

    def __init__(
        self,
        control: CandidateControl,
        on_elected: OnElected | None,
        on_lost: OnLost | None,
        ready: ReadyInLoop | None,
    ) -> None:
        if on_elected is not None:
            check_function("on_elected", on_elected, "term")
        if on_lost is not None:
            check_function("on_lost", on_lost, "event")
        self._control = control
        self._ready = ready
        self._on_elected, self._on_lost = on_elected, on_lost
        self._unstarted = on_elected is not None or on_lost is not None
        self._listeners: list[Callbacks[CandidateEvent]] = []

    def start(self) -> None:
        """Call them in the running event loop from now on; no effect the second time."""
        if self._ready is not None:
            self._ready.bind()
        if self._unstarted:
            self.add(self._call, f"on_elected or on_lost of {self._control.key}")
            self._unstarted = False

    def add(
        self,
        function: Callable[[CandidateEvent], Awaitable[object] | object],
        name: str | None = None,
    ) -> Callbacks[CandidateEvent]:
        """Call the function with every event in the running event loop.

        Args:
            function: a function or coroutine function.
            name: of it, for the log.
        """
        broadcaster = self._control.state.broadcaster
        stream = broadcaster.stream()

        def take() -> CandidateEvent | None:
            event = stream.take()
            return None if event is None else asyncio_event(event)

        def is_last(event: CandidateEvent) -> bool:
            return isinstance(event, Stopped)

        listener: Callbacks[CandidateEvent] = Callbacks(
            broadcaster.changed, take, function, is_last, name
        )
        self._listeners.append(listener)
        return listener

    async def finish(self) -> None:
        """Wait until all events so far have been delivered; not inside of a callback itself."""
        if self._ready is not None:
            await self._ready.finish()
        for listener in self._listeners:
            await listener.finish()

    def _call(self, event: CandidateEvent) -> Awaitable[object] | object:
        match event:
            case Elected(term) if self._on_elected is not None:
                return self._on_elected(term)
            case Lost() | Resigned() if self._on_lost is not None:
                return self._on_lost(event)
            case _:
                return None
