"""Programs that fork, are interrupted, or end in any way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from tests.support.process_faults.triggers import on_trigger

if TYPE_CHECKING:
    from tests.support.worker import WorkerContext

Play = Callable[["WorkerContext"], None]

_LIFE = 30.0  # seconds that a child lives on
_LOOKS = 200  # of a child, whether it leads, a hundredth of a second apart


def leaves_a_child(how: str) -> Play:
    """At the trigger, start a child that outlives its parent.

    Args:
        how: "fork", or "exec" for another program that gets all the descriptors.
    """

    def play(context: WorkerContext) -> None:
        def fork() -> None:
            child = os.fork()
            if child == 0:
                led = False
                for _ in range(_LOOKS):
                    led = led or context.candidate.is_leader
                    time.sleep(0.01)
                os.write(2, b"the child leads" if led else b"")
                time.sleep(_LIFE)
                os._exit(0)
            context.recorder.note(child=child)

        def execute() -> None:
            for descriptor in range(3, 256):
                with suppress(OSError):
                    os.set_inheritable(descriptor, True)  # noqa: FBT003  # it takes no keyword
            child = subprocess.Popen(["sleep", str(_LIFE)], close_fds=False)
            context.recorder.note(child=child.pid)

        on_trigger({"fork": fork, "exec": execute}[how])

    return play


def is_interrupted(how: str) -> Play:
    """Check for leadership in a signal handler a thousand times a second, until the trigger."""

    def play(context: WorkerContext) -> None:
        candidate, cued = context.candidate, threading.Event()

        def handler(*_: object) -> None:
            with suppress(StopIteration):
                next(candidate.run_for_election())
            candidate.wait_elected(0)
            if cued.is_set():
                signal.setitimer(signal.ITIMER_REAL, 0)
                context.recorder.note(stopped=candidate.stop())

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.5, 0.001)
        on_trigger(cued.set)

    return play


def ends(how: str) -> Play:
    """At the trigger, end the program as leader, while daemon threads are running.

    Args:
        how: "returns", "raises", "interrupted", "exits in a thread" or "crashes".
    """

    def play(context: WorkerContext) -> None:
        for busy in (_look, _read, _listen):
            threading.Thread(target=busy, args=(context,), daemon=True).start()
        end = {
            "returns": _return,
            "raises": _raise,
            "interrupted": _interrupt,
            "exits in a thread": _exit_in_a_thread,
            "crashes": _crash,
        }[how]
        signal.signal(signal.SIGUSR2, lambda *_: end())  # in the main thread, in its loop

    return play


def _look(context: WorkerContext) -> None:
    while True:
        term = context.candidate.term
        if term is not None:
            term.remaining()


def _read(context: WorkerContext) -> None:
    while True:
        context.store.leader(context.candidate.key)


def _listen(context: WorkerContext) -> None:
    while True:
        for _ in context.candidate.run_for_election():
            pass


def _return() -> NoReturn:
    raise SystemExit(0)


def _raise() -> NoReturn:
    raise ZeroDivisionError("the program has failed")


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _exit_in_a_thread() -> NoReturn:
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()
    raise SystemExit(0)


def _crash() -> None:
    os._exit(9)
