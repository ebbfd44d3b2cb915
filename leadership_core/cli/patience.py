"""How long a command waits for a store that has never answered, and for one answer of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

from .. import clock
from ..budget import budget
from ..errors import StoreRefused, StoreUnavailable
from ..handle import StoreHandle
from ..internals import internals

__all__ = ["Patience", "within"]

T = TypeVar("T")

_GRACE = 0.2  # seconds by which a store may overstep its budget
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5  # between two tries


class Patience:
    """While entered, ends a command whose store gives no usable answer at the beginning.

    Once the store has answered it may be away for as long as it likes.

    Args:
        store: whose first answer is waited for.
        seconds: how long.
        give_up: ends the command's loop; called in a thread of its own.
    """

    def __init__(self, store: StoreHandle, seconds: float, give_up: Callable[[], object]) -> None:
        self._store = store
        self._seconds = seconds
        self._give_up = give_up
        self._trouble: StoreUnavailable | None = None
        self._ran_out = False
        self._refused = False
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._look)
        self._timer.name = "leadership-patience"
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trouble(self, error: StoreUnavailable) -> None:
        """The store was asked, and this came of it."""
        self._trouble = error
        # A part of it may answer, and another refuse: a token may open sessions and not write.
        if isinstance(error, StoreRefused) and not self._timer.finished.is_set():
            self._refused = True
            self._give_up()

    def worked(self) -> None:
        """The store has done what it is there for."""
        self._timer.cancel()

    def check(self) -> None:
        """Raise `StoreUnavailable` if the patience has run out."""
        if not (self._ran_out or self._refused):
            return
        # Nothing is held there, and whoever does not answer does not confirm either.
        self._store.close(_GRACE)
        if self._refused and self._trouble is not None:
            raise self._trouble
        raise _no_answer(self._store, self._seconds, self._trouble)

    def _look(self) -> None:
        if not internals(self._store).engine.has_worked:
            self._ran_out = True
            self._give_up()


def within(
    store: StoreHandle, seconds: float, request: Callable[[], T], *, retry: bool = False
) -> T:
    """Make a request that ends in time, whatever hangs: the store, or looking up its name.

    Args:
        store: for the message.
        seconds: how long it may take.
        request: what to do.
        retry: whether to try again in that time when the store cannot be reached: it may be
            starting.

    Raises:
        StoreUnavailable: there is no answer after that many seconds.
        Exception: what the request raises.
    """
    outcome: list[T | BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            with budget(seconds):
                outcome.append(_persistently(request, seconds) if retry else request())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            outcome.append(error)
        done.set()

    threading.Thread(target=work, name="leadership-patience", daemon=True).start()
    if not done.wait(min(seconds + _GRACE, threading.TIMEOUT_MAX)):
        raise _no_answer(store, seconds, None)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _persistently(request: Callable[[], T], seconds: float) -> T:
    until = clock.now() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return request()
        except StoreRefused:
            raise  # no time mends that
        except StoreUnavailable:
            if clock.now() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _no_answer(
    store: StoreHandle, seconds: float, trouble: StoreUnavailable | None
) -> StoreUnavailable:
    why = f": {trouble}" if trouble else "; is it the right address, and is the store running?"
    return StoreUnavailable(f"{store.url} gave no answer within {seconds:g} s{why}")
