"""Daemon threads: starting, joining, and checks for greenlets in their place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from ..errors import ConfigurationError, NotApplied

__all__ = ["gevent_has_patched_threads", "join", "refuse_eventlet", "start_daemon", "this_thread"]


def start_daemon(run: Callable[[], object], name: str) -> threading.Thread:
    """Start a daemon thread.

    The caller stores the thread only after this has returned: if it raises, the next call tries
    again, and no call waits for a thread that was never started.

    Args:
        run: the function to run in it.
        name: its name; it begins with `leadership-`.

    Raises:
        NotApplied: this process cannot start a thread now.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NotApplied(f"no thread can be started now ({error}): try again") from error
    return thread


def join(thread: threading.Thread, timeout: float) -> None:
    """Wait until the thread has ended, at most `timeout` seconds; raises nothing.

    A thread that has not been started counts as ended; the calling thread does not wait for itself.
    """
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(timeout)


def gevent_has_patched_threads() -> bool:
    """Whether a new thread of this process is a greenlet of gevent's."""
    monkey = sys.modules.get("gevent.monkey")  # a library that has patched something is loaded
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def refuse_eventlet(scheme: str, reason: str) -> None:
    """Refuse to open a store in a process that eventlet has patched.

    Args:
        scheme: the scheme of the store's URL, such as `etcd://`.
        reason: why the store cannot work there.

    Raises:
        ConfigurationError: eventlet has patched threads, sockets or `select`.
    """
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and any(map(patcher.is_monkey_patched, ("thread", "socket", "select"))):
        raise ConfigurationError(
            f"{scheme} does not work in a process that eventlet has patched: {reason}; "
            "remove eventlet.monkey_patch(), or use gevent"
        )


class _Thread(threading.local):
    """Identity of the thread that reads `mark`; unlike a thread's ident, it is never reused."""

    def __init__(self) -> None:
        self.mark: object = object()


this_thread: _Thread = _Thread()
