"""Gates on all stores: a program that is not ready, and one that is deadlocked, hand over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from leadership_core import Candidate, open_store
from tests.support.backends import on_all
from tests.support.paths import ROOT
from tests.support.waiting import at_most, wait_until
from tests.system.conftest import TargetStore

_PROGRAM = """
import sys, threading
from leadership_core import Candidate, LostReason, open_store

url, key, ttl, kind = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
asked_to_stop = threading.Event()

def read_orders():
    sys.stdin.readline()
    asked_to_stop.set()
threading.Thread(target=read_orders, daemon=True).start()

def work(term):
    print("leads", flush=True)
    if kind == "deadlock":
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    while not term.wait_lost(0.1):
        term.heartbeat()

def lost(event):
    print(event.name, getattr(event, "reason", ""), flush=True)

ready = (lambda: not asked_to_stop.is_set()) if kind == "ready" else None
watchdog = 0.5 if kind == "deadlock" else None
candidate = Candidate(open_store(url), key, "first", ttl=ttl, ready=ready, watchdog=watchdog, on_lost=lost)
candidate.lead(work, cooldown=0)
"""


@contextmanager
def _running(target: TargetStore, key: str, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program in a process that ends with the block; it leads when the block begins."""
    words = [sys.executable, "-c", _PROGRAM, target.url, key, str(target.ttl), kind]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "leads\n"
            yield process
        finally:
            process.kill()


def _next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@on_all
def test_leader_that_is_not_ready_hands_over(target: TargetStore, unique_key: str) -> None:
    """Its process goes on; its claim is withdrawn, so the other one need not wait for the lease."""
    with (
        open_store(target.url) as store,
        _running(target, unique_key, "ready") as process,
        Candidate(store, unique_key, "second", ttl=target.ttl) as other,
    ):
        assert process.stdin is not None
        process.stdin.write("stop\n")
        process.stdin.flush()
        assert _next_line(process) == "resigned"
        assert other.wait_elected(at_most(target.ttl))
        leader = store.leader(unique_key)
        assert leader is not None
        assert leader.value == "second"


@on_all
def test_deadlocked_leader_hands_over(target: TargetStore, unique_key: str) -> None:
    """Its renewals go on; the claim is withdrawn at the end of the lease that its work had."""
    with (
        open_store(target.url) as store,
        _running(target, unique_key, "deadlock") as process,
        Candidate(store, unique_key, "second", ttl=target.ttl) as other,
    ):
        assert _next_line(process) == "lost watchdog"
        assert other.wait_elected(at_most(2 * target.ttl))
        wait_until(lambda: process.poll() is None and other.is_leader, 5.0)
