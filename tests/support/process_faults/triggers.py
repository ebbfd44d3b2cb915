"""Triggers of process faults, and stopping the own process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["on_trigger", "stop_here"]


def on_trigger(act: Callable[[], object]) -> None:
    """Call it in a new thread at each SIGUSR2."""
    triggers: SimpleQueue[None] = SimpleQueue()

    def wait() -> None:
        while True:
            triggers.get()
            act()

    threading.Thread(target=wait, name="triggers", daemon=True).start()
    signal.signal(signal.SIGUSR2, lambda *_: triggers.put(None))


def stop_here() -> None:
    """Send SIGSTOP to this process; the calling thread waits until it is continued."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.05)  # the kernel may stop the other threads first
