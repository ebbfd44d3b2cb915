"""What happens to open stores when the process forks or exits, and when the program drops them."""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import sys
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet, finalize

from . import clock
from .fork import at_fork_in_child
from .internals import internals
from .threads import start_daemon

if TYPE_CHECKING:
    from .handle import StoreHandle

__all__ = ["begin_close_all", "close_when_collected", "register", "unregister"]

log = logging.getLogger("leadership.engine")

_EXIT_SECONDS = 1.8  # for all stores together to release what they hold
_LOOK_SECONDS = 0.01
_MORE = 0.1  # and for those that have released it to say goodbye to their servers


class Closing(Protocol):
    """What outlives the store that users hold, and ends its threads; refers to no store."""

    forked: bool

    def close(self, until: float) -> bool: ...


_FIRST: Final = 100  # of what multiprocessing ends, by its own count: the rest is 15 at most
_FORGOTTEN_SECONDS: Final = 5.0

_open: WeakSet[StoreHandle] = WeakSet()
_workers: set[int] = set()  # the processes whose multiprocessing closes the stores


def register(store: StoreHandle) -> None:
    """Close it at exit, and make it inert in forked children."""
    _open.add(store)
    # A process that multiprocessing has started by fork or forkserver ends with `os._exit`, past
    # all handlers of atexit; it runs finalizers of its own. (Those that it inherits it drops.)
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or os.getpid() in _workers:
        return
    from multiprocessing.util import Finalize  # only here: loaded already in such a process

    Finalize(None, _close_all, exitpriority=_FIRST)
    _workers.add(os.getpid())


def close_when_collected(
    store: StoreHandle, engine: Closing, url: str
) -> finalize[..., StoreHandle]:
    """Close the engine when nothing refers to the store any more, with a `ResourceWarning`.

    Returns:
        What `detach` is to be called of once the store is closed.
    """
    found = finalize(store, _forgotten, engine, url)
    found.atexit = False  # `_close_all` sees to that
    return found


def _forgotten(engine: Closing, url: str) -> None:
    # In the midst of a garbage collection: any thread may be here, with any lock held, also those
    # that `Thread.start` takes. So a bare thread comes first.
    if engine.forked:
        return
    with suppress(RuntimeError):  # the process has no more threads, or is about to end
        _thread.start_new_thread(_close_forgotten, (engine,))
    warnings.warn(
        f"unclosed store {url}: use it as a context manager, or call its close()",
        ResourceWarning,
        stacklevel=2,
    )


def _close_forgotten(engine: Closing) -> None:
    def close() -> None:
        engine.close(clock.now() + _FORGOTTEN_SECONDS)

    try:
        start_daemon(close, "leadership-forgotten")
    except Exception:
        log.exception("store.close_failed")


def unregister(store: StoreHandle) -> None:
    """It is closed."""
    _open.discard(store)


def begin_close_all() -> None:
    """Let the candidates and followers of all open stores start to leave; waits for nothing.

    For signal handlers: what one store raises keeps no other from leaving.
    """
    for store in list(_open):
        try:
            internals(store).begin_close()
        except Exception:
            log.exception("store.begin_close_failed")


def _close_all() -> None:
    """Release everything, so that others need not wait for a ttl. Starts no thread."""
    until = clock.now() + _EXIT_SECONDS
    begin_close_all()  # one that hangs must not keep the others from leaving
    stores = list(_open)
    while stores and clock.now() < until + _MORE:  # what is left then ends with the process
        ready = [store for store in stores if internals(store).has_left()]
        if ready or clock.now() >= until:
            store = (ready or stores)[0]
            stores.remove(store)
            try:
                internals(store).close_by(until)
            except Exception:
                log.exception("store.close_failed")
        else:
            time.sleep(_LOOK_SECONDS)  # they leave side by side


def _after_fork_in_child() -> None:
    for store in list(_open):
        internals(store).end_in_child()
    _open.clear()


atexit.register(_close_all)
at_fork_in_child(_after_fork_in_child)
