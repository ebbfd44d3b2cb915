"""Opening of a command's store: checks, time limits for its first answer, and a usable ttl."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar

from ..backend import clock
from ..backend.deadline import call_timeout
from ..backend.url import StoreURL
from ..engine.store_base import internals
from ..engine.timing import safety_margin
from ..errors import ConfigurationError, StoreRefused, StoreUnavailable
from ..store import Store, open_store

__all__ = [
    "StartupTimeout",
    "call_with_timeout",
    "check_shared",
    "choose_ttl",
    "open_shared_store",
    "probe_ttl",
]

T = TypeVar("T")

_GRACE = 0.2  # seconds by which a store may exceed the timeout of a call
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5  # seconds between two attempts


def open_shared_store(url: StoreURL | None) -> Store:
    """Open a store that other processes can reach.

    Raises:
        ConfigurationError: the URL is wrong, or the store exists in this process only.
    """
    assert url is not None
    store = open_store(url)  # first, so that mistakes in the URL itself are reported before
    try:
        check_shared(url)
    except ConfigurationError:
        store.close(0)
        raise
    return store


def check_shared(url: StoreURL) -> None:
    """Raise `ConfigurationError` if no other process can reach the store."""
    if url.scheme == "memory":
        raise ConfigurationError(
            "memory:// exists in one process only, so no other process can take part in the"
            " election: use sqlite:///FILE.db for the processes of one machine, or a server's URL"
        )


class StartupTimeout:
    """While entered, ends a command whose store gives no usable answer at the beginning.

    After the first answer of the store, an outage may last any time.

    Args:
        store: the store whose first answer is awaited.
        seconds: how long.
        give_up: ends the command's loop; called in a thread of its own.
    """

    def __init__(self, store: Store, seconds: float, give_up: Callable[[], object]) -> None:
        self._store = store
        self._seconds = seconds
        self._give_up = give_up
        self._last_error: StoreUnavailable | None = None
        self._is_expired = False
        self._is_refused = False

        def expire() -> None:
            if not internals(store).engine.has_worked:
                self._is_expired = True
                give_up()

        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), expire)
        self._timer.name = "leadership-startup-timeout"
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def failed(self, error: StoreUnavailable) -> None:
        """Record that a request to the store has failed."""
        self._last_error = error
        # One part of a store may answer and another refuse: a token may open sessions but not write.
        if isinstance(error, StoreRefused) and not self._timer.finished.is_set():
            self._is_refused = True
            self._give_up()

    def succeeded(self) -> None:
        """Record the first answer of the store; from now on an outage may last any time."""
        self._timer.cancel()

    def check(self) -> None:
        """Close the store and raise `StoreUnavailable` if it has refused or not answered in time."""
        if not (self._is_expired or self._is_refused):
            return
        # The command holds nothing there, and a store that is away cannot confirm that.
        self._store.close(_GRACE)
        if self._is_refused and self._last_error is not None:
            raise self._last_error
        raise _no_answer(self._store, self._seconds, self._last_error)


def call_with_timeout(
    store: Store, seconds: float, request: Callable[[], T], *, retry: bool = False
) -> T:
    """Make a request that ends in time, whether the store hangs or the look-up of its name.

    Args:
        store: for the message.
        seconds: how long it may take.
        request: makes the request.
        retry: try again in that time while the store cannot be reached: it may be starting.

    Raises:
        StoreUnavailable: there was no answer within that time.
        Exception: as `request` raised it.
    """
    outcome: list[T | BaseException] = []
    done = threading.Event()

    def attempt() -> T:
        until = clock.now() + seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return request()
            except StoreRefused:
                raise  # does not pass by itself
            except StoreUnavailable:
                if not retry or clock.now() + pause > until:
                    raise
            time.sleep(pause)  # between two tries
            pause = min(2 * pause, _LONGEST_PAUSE)

    def work() -> None:
        try:
            with call_timeout(seconds):
                outcome.append(attempt())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            outcome.append(error)
        done.set()

    threading.Thread(target=work, name="leadership-call", daemon=True).start()
    if not done.wait(min(seconds + _GRACE, threading.TIMEOUT_MAX)):
        raise _no_answer(store, seconds, None)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _no_answer(store: Store, seconds: float, error: StoreUnavailable | None) -> StoreUnavailable:
    why = f": {error}" if error else "; is the address right, and is the store running?"
    return StoreUnavailable(f"{store.url} gave no answer within {seconds:g} s{why}")


def probe_ttl(store: Store, ttl: float) -> tuple[float, float]:
    """Open a session and close it again.

    Returns:
        The granted ttl, and the duration of a renewal, in seconds.
    """
    session = store.open_session(ttl)
    try:
        begun = time.monotonic()
        return session.renew(), time.monotonic() - begun
    finally:
        session.close()


def choose_ttl(store: Store, ttls: Sequence[float], timeout: float) -> float:
    """Return the granted ttl for the first of these ttls that a candidate can use on this store.

    Args:
        store: the store; it may grant a longer ttl than requested.
        ttls: the ttls to request, in order, in seconds.
        timeout: seconds, for each of them.

    Raises:
        ConfigurationError: none is usable; the message is that for the last one.
        StoreUnavailable: no answer within the timeout.
    """

    def usable(ttl: float) -> float:
        granted, _ = probe_ttl(store, ttl)
        safety_margin(granted, least=internals(store).engine.least_margin)
        return granted

    problem = ConfigurationError("no ttl to choose from")
    for ttl in ttls:
        try:
            return call_with_timeout(store, timeout, partial(usable, ttl), retry=True)
        except ConfigurationError as error:
            problem = error
    raise problem
