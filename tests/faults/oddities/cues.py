"""When an oddity acts, and how it stops its own process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["on_cue", "stop_here"]


def on_cue(act: Callable[[], object]) -> None:
    """Call it in a thread of its own at each SIGUSR2."""
    cues: SimpleQueue[None] = SimpleQueue()

    def wait() -> None:
        while True:
            cues.get()
            act()

    threading.Thread(target=wait, name="cues", daemon=True).start()
    signal.signal(signal.SIGUSR2, lambda *_: cues.put(None))


def stop_here() -> None:
    """SIGSTOP this process; the calling thread goes no further before it is continued."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.05)  # the kernel may stop the other threads first
