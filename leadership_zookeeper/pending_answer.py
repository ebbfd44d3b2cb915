"""The future of an answer: kazoo's, without a condition for each request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["PendingAnswer"]

_NONE = object()


class PendingAnswer:
    """An answer that kazoo's thread sets, and others wait for; thread-safe.

    It has the methods of kazoo's `AsyncResult` that are used. No lock is held at any time, so a signal
    handler may use it, too. What has to happen once the answer is there is noted before the
    answer is looked for, and looked for after the answer is there: so one of the two sides does it.

    Args:
        timeout_exception: raised by `get` after its timeout.

    Attributes:
        value: the answer; None before it is there, and if it is an error.
    """

    __slots__ = ("_callbacks", "_error", "_gates", "_timeout_exception", "value")

    def __init__(self, timeout_exception: type[Exception]) -> None:
        self.value: Any = None
        self._error: Any = _NONE  # None if the request was successful
        self._gates: list[threading.Lock] = []  # of threads that wait
        self._callbacks: list[Callable[[PendingAnswer], object]] = []
        self._timeout_exception = timeout_exception

    def ready(self) -> bool:
        """Whether the answer is there."""
        return self._error is not _NONE

    def successful(self) -> bool:
        """Whether the answer is there, and no error."""
        return self._error is None

    @property
    def exception(self) -> Exception | None:
        """The error, if there is one."""
        return self._error if self.ready() else None

    def set(self, value: Any = None) -> None:
        """Set the answer; wakes those who wait."""
        self.value = value
        self._finish(None)

    def set_exception(self, error: Exception) -> None:
        """Set an error; wakes those who wait."""
        self._finish(error)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # kazoo's signature
        """Wait for the answer, and return it.

        Raises:
            Exception: the error that was set, or the `timeout_exception`.
        """
        if block and not self.ready():
            gate = threading.Lock()
            gate.acquire()
            self._gates.append(gate)
            if not self.ready():
                gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        if self._error is None:
            return self.value
        raise self._timeout_exception() if self._error is _NONE else self._error

    def rawlink(self, callback: Callable[[PendingAnswer], object]) -> None:
        """Call a function once the answer is there, at once if it is there already."""
        self._callbacks.append(callback)
        if self.ready():
            self._call_back()

    def _finish(self, error: Exception | None) -> None:
        self._error = error
        self._call_back()
        for gate in self._gates:
            if gate.locked():
                gate.release()

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return  # the other thread has taken it
            callback(self)
