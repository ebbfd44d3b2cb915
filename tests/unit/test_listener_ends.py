"""Callbacks at the end of their store, in forked children, in signal handlers, and at the end of the process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest

from leadership_core import (
    Candidate,
    Follower,
    ForkedStore,
    Store,
    Term,
    open_store,
)
from leadership_core.engine.store_base import internals
from tests.support.waiting import eventually


def callback_threads() -> list[threading.Thread]:
    """The threads of callbacks that are alive."""
    return [one for one in threading.enumerate() if one.name == "leadership-callbacks"]


def test_callbacks_keep_no_dropped_store() -> None:
    """Candidates with callbacks that were never started, or have stopped, leave store and threads free."""
    store = open_store("memory://dropped")
    stopped = Candidate(store, "key", "a", ttl=3, on_elected=lambda term: None)
    unstarted = Candidate(store, "key", "b", ttl=3, on_elected=lambda term: None)
    follower = Follower(store, "key", on_leader=lambda leader: None)
    stopped.wait_elected(5)
    stopped.stop()
    opened = weakref.ref(internals(store))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # an unclosed store
        del store, stopped, unstarted, follower
        assert eventually(lambda: gc.collect() >= 0 and opened() is None)
    assert eventually(lambda: not callback_threads())


def test_forked_child_calls_nothing(store: Store) -> None:
    """A callback that forks goes on in the child, and is the last one there; the parent goes on."""
    calls: list[str] = []
    read, write = os.pipe()

    def elected(_: Term) -> None:
        if os.fork() == 0:
            try:
                candidate.add_listener(lambda event: None)
            except ForkedStore:
                os.write(write, b"refused ")
            return  # the thread is the only one of the child, which ends with it

    def lost(_: object) -> None:
        calls.append("lost")
        os.write(write, b"lost ")

    candidate = Candidate(store, "key", "a", ttl=3, on_elected=elected, on_lost=lost)
    candidate.wait_elected(5)
    pid, status = os.wait()
    candidate.stop()
    assert eventually(lambda: calls == ["lost"])
    os.close(write)
    assert os.read(read, 100) == b"refused lost "
    os.close(read)
    assert pid > 0
    assert os.waitstatus_to_exitcode(status) == 0


def test_signal_handler_stops_while_a_callback_runs(store: Store) -> None:
    """`stop` in a handler of the main thread does not wait for the callback, which would be a deadlock."""
    begun, release = threading.Event(), threading.Event()
    stopped: list[bool] = []

    def elected(_: Term) -> None:
        begun.set()
        release.wait(60)

    candidate = Candidate(store, "key", "a", ttl=3, on_elected=elected)
    before = signal.signal(signal.SIGUSR1, lambda *_: stopped.append(candidate.stop(5)))
    try:
        candidate.start()
        assert begun.wait(5)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert eventually(lambda: stopped == [True])
    finally:
        signal.signal(signal.SIGUSR1, before)
        release.set()


_PROGRAM = """
import time
from leadership_core import Candidate, open_store
def elected(term):
    print("elected", flush=True)
    {elected}
def lost(event):
    time.sleep(0.3)
    print(event.name, flush=True)
candidate = Candidate(open_store("memory://x"), "key", "a", on_elected=elected, on_lost=lost)
assert candidate.wait_elected(5)
time.sleep(0.3)
"""


@pytest.mark.parametrize(
    ("elected", "printed"), [("", "elected\nresigned\n"), ("time.sleep(600)", "elected\n")]
)
def test_exit_of_the_process_waits_for_callbacks_a_moment(elected: str, printed: str) -> None:
    """One that is quick is called to its end; one that hangs does not hold up the exit."""
    begun = time.monotonic()
    program = [sys.executable, "-W", "ignore", "-c", _PROGRAM.format(elected=elected)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == printed
    assert done.stderr == ""
    assert time.monotonic() - begun < 40
