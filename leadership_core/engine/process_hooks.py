"""Process hooks: what happens to open stores when the process forks, exits, or gets a signal."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from typing import Final

from ..backend import clock
from ..backend.event_count import snapshot
from ..backend.fork import at_fork_in_child
from ..backend.observation import hub
from .callbacks import active_callbacks
from .open_store import open_stores

__all__ = ["begin_close_all", "close_at_exit"]

log: logging.Logger = logging.getLogger("leadership.engine")

_EXIT_SECONDS = 1.8  # for all stores together to release what they hold
_POLL_SECONDS = 0.01
_GRACE = 0.1  # seconds more, for stores that have released it to close their connections
_FLUSH_SECONDS = 0.5  # for observers to get the last records
_PRIORITY: Final = 100  # before all that multiprocessing itself ends: its own are 15 at most

_finalized: set[int] = set()  # the processes whose multiprocessing closes the stores


def close_at_exit() -> None:
    """Make sure that all open stores are closed when this process ends.

    For most processes that is done at import. One that multiprocessing has started by fork or
    forkserver ends with `os._exit`, past all handlers of atexit; it runs finalizers of its own, and
    drops those that it inherits.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or os.getpid() in _finalized:
        return
    from multiprocessing.util import Finalize  # only here: loaded already in such a process

    Finalize(None, _close_all, exitpriority=_PRIORITY)
    _finalized.add(os.getpid())


def begin_close_all() -> None:
    """Let the candidates and followers of all open stores start to leave; does not wait.

    For signal handlers: what one store raises keeps no other from leaving.
    """
    for store in list(open_stores):
        try:
            store.begin_close()
        except Exception:
            log.exception("store.begin_close_failed")


def _close_all() -> None:
    """Release everything, so that others need not wait for a ttl. Starts no thread."""
    until = clock.now() + _EXIT_SECONDS
    begin_close_all()  # one that hangs must not keep the others from leaving
    stores = list(open_stores)
    while stores and clock.now() < until + _GRACE:  # what is left then ends with the process
        ready = [store for store in stores if store.has_left()]
        if ready or clock.now() >= until:
            store = (ready or stores)[0]
            stores.remove(store)
            try:
                store.close_by(until)
            except Exception:
                log.exception("store.close_failed")
        else:
            time.sleep(_POLL_SECONDS)  # they leave concurrently
    while any(one.busy for one in snapshot(active_callbacks)) and clock.now() < until:
        time.sleep(_POLL_SECONDS)  # a callback on the end of a term, in a daemon thread
    hub.flush(_FLUSH_SECONDS)


@at_fork_in_child
def _after_fork_in_child() -> None:
    for store in list(open_stores):
        store.end_in_child()
    open_stores.clear()
    active_callbacks.clear()


atexit.register(_close_all)
