"""Starting daemon threads, and waiting for their end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import NotDone

__all__ = ["join", "start_daemon"]


def start_daemon(run: Callable[[], object], name: str) -> threading.Thread:
    """Start a daemon thread.

    The caller notes the thread only after this has returned. So if it raises, the next call tries
    again, and nothing waits for a thread that has never been started.

    Args:
        run: what the thread does.
        name: its name; it begins with `leadership-`.

    Raises:
        NotDone: the system lets this process start no thread now.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NotDone(f"no thread can be started now ({error}): try again") from error
    return thread


def join(thread: threading.Thread, timeout: float) -> None:
    """Wait until the thread has ended, at most `timeout` seconds; raises nothing.

    A thread that has not been started counts as ended; the calling thread does not wait for itself.
    """
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(timeout)
