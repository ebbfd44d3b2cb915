"""Programs that call `graceful_exit` and are ended by a signal, on all stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from leadership_core import Candidate, open_store
from tests.support.backends import on_all
from tests.support.paths import ROOT
from tests.support.waiting import at_most
from tests.system.conftest import TargetStore

_HEAD = """
import os, signal, sys, threading, time
from leadership_core import Candidate, Follower, graceful_exit, open_store

url, key, ttl = sys.argv[1], sys.argv[2], float(sys.argv[3])

def leads(*_):
    print("leads", flush=True)
"""

_ITERATES = """
graceful_exit()
with open_store(url) as store:
    for elected in Candidate(store, key, "first", ttl=ttl).run_for_election():
        if elected:
            leads()
"""

_SLEEPS_IN_A_BLOCK = """
graceful_exit()
with open_store(url) as store, Candidate(store, key, "first", ttl=ttl).leading():
    leads()
    time.sleep(60)
"""

_HOLDS_A_LOCK = """
graceful_exit()
with open_store(url) as store, store.lock(key, "first", ttl=ttl):
    leads()
    time.sleep(60)
"""

_WORKS = """
graceful_exit()
def work(term):
    leads()
    term.wait_lost()
    time.sleep(60)
with open_store(url) as store:
    Candidate(store, key, "first", ttl=ttl).lead(work)
"""

_WRITES_ALL_THE_TIME = """
graceful_exit()
def work(term):
    store.put(key + "-counter", b"0")
    leads()
    while True:
        store.put(key + "-counter", b"1", fence=term)
with open_store(url) as store:
    Candidate(store, key, "first", ttl=ttl).lead(work)
"""

_NEVER_CLOSES = """
graceful_exit()
store = open_store(url)
assert Candidate(store, key, "first", ttl=ttl).wait_elected(20)
leads()
while True:
    time.sleep(60)
"""

_MAIN_THREAD_HAS_ENDED = """
graceful_exit()
store = open_store(url)
def campaign():
    for elected in Candidate(store, key, "first", ttl=ttl).run_for_election():
        if elected:
            leads()
def follow():
    for leader in Follower(store, key).follow_election():
        pass
threading.Thread(target=campaign).start()
threading.Thread(target=follow).start()
"""

_MAIN_THREAD_JOINS = (
    _MAIN_THREAD_HAS_ENDED
    + "[one.join() for one in list(threading.enumerate()) if not one.daemon and one is not threading.main_thread()]"
)

_PROGRAMS = {
    "iterates": _ITERATES,
    "sleeps in a block": _SLEEPS_IN_A_BLOCK,
    "holds a lock": _HOLDS_A_LOCK,
    "works": _WORKS,
    "writes all the time": _WRITES_ALL_THE_TIME,
    "never closes": _NEVER_CLOSES,
    "main thread joins": _MAIN_THREAD_JOINS,
    "main thread has ended": _MAIN_THREAD_HAS_ENDED,
}


@contextmanager
def _running(program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", _HEAD + program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=_usual_signals,  # noqa: PLW1509 - nothing else runs in this process yet
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _usual_signals() -> None:
    """Restore default signal handlers; under nohup SIGHUP is ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _heard(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for _ in range(100):
        if (said := process.stdout.readline()) == f"{line}\n":
            return
        assert said, process.communicate()[1]


@on_all
@pytest.mark.parametrize("program", _PROGRAMS)
def test_sigterm_releases_within_half_a_second(
    target: TargetStore, unique_key: str, program: str
) -> None:
    """The next candidate need not wait for the ttl; the exit code is that of the signal.

    A delay by the load is none of the program: then it has two more attempts.
    """
    for attempt in range(3):
        if _time_from_sigterm_to_next(target, f"{unique_key}/{attempt}", program) < at_most(0.5):
            return
    pytest.fail("three releases have taken more than half a second each")


def _time_from_sigterm_to_next(target: TargetStore, key: str, program: str) -> float:
    ttl = max(target.ttl, 10.0)
    with _running(_PROGRAMS[program], target.url, key, str(ttl)) as process:
        _heard(process, "leads")
        with open_store(target.url) as store:
            waiting = Candidate(store, key, "second", ttl=ttl)
            waiting.run_for_election()
            assert waiting.wait_elected(0.5) is None
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert waiting.wait_elected(ttl * 3)
            elected = time.monotonic() - began
        _, said = process.communicate(timeout=10)

    assert said == ""
    assert process.returncode == (0 if program == "main thread has ended" else 143)
    return elected
