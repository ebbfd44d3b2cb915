"""What happens to open stores when the process forks, and when it exits."""

from __future__ import annotations

import atexit
import logging
import time
from typing import Protocol
from weakref import WeakSet

from . import clock
from .fork import at_fork_in_child

__all__ = ["begin_close_all", "register", "unregister"]

log = logging.getLogger("leadership.engine")

_EXIT_SECONDS = 1.8  # for all stores together to release what they hold
_LOOK_SECONDS = 0.01
_MORE = 0.1  # and for those that have released it to say goodbye to their servers


class Lifetime(Protocol):
    """An open store, as this module knows it."""

    def begin_close(self) -> None: ...

    def has_left(self) -> bool: ...

    def close_by(self, until: float) -> bool: ...

    def end_in_child(self) -> None: ...


_open: WeakSet[Lifetime] = WeakSet()


def register(store: Lifetime) -> None:
    """Close it at exit, and make it inert in forked children."""
    _open.add(store)


def unregister(store: Lifetime) -> None:
    """It is closed."""
    _open.discard(store)


def begin_close_all() -> None:
    """Let the candidates and followers of all open stores start to leave; waits for nothing.

    For signal handlers: what one store raises keeps no other from leaving.
    """
    for store in list(_open):
        try:
            store.begin_close()
        except Exception:
            log.exception("store.begin_close_failed")


def _close_all() -> None:
    """Release everything, so that others need not wait for a ttl. Starts no thread."""
    until = clock.now() + _EXIT_SECONDS
    begin_close_all()  # one that hangs must not keep the others from leaving
    stores = list(_open)
    while stores and clock.now() < until + _MORE:  # what is left then ends with the process
        ready = [store for store in stores if store.has_left()]
        if ready or clock.now() >= until:
            store = (ready or stores)[0]
            stores.remove(store)
            try:
                store.close_by(until)
            except Exception:
                log.exception("store.close_failed")
        else:
            time.sleep(_LOOK_SECONDS)  # they leave side by side


def _after_fork_in_child() -> None:
    for store in list(_open):
        store.end_in_child()
    _open.clear()


atexit.register(_close_all)
at_fork_in_child(_after_fork_in_child)
