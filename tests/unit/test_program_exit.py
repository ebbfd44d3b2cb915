"""What programs leave at the store, and print, at their end."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from leadership_core import Candidate, NotElected, open_store
from leadership_core.engine.scheduler import Scheduler
from tests.support.waiting import at_most

_PROGRAM = """
import sys, threading, time
from leadership_core import Candidate, Follower, open_store
from tests.unit.faulty import Fault, FaultyStore

store = open_store("sqlite:///" + sys.argv[1])
candidates = [Candidate(store, f"key/{{n}}", "a", ttl=30) for n in range({count})]
for candidate in candidates:
    candidate.run_for_election()
for candidate in candidates:
    assert candidate.wait_elected(5)
follower = Follower(store, "key/0")
assert follower.wait_leader(5)
for endless in (candidates[0].run_for_election(), candidates[0].events(), follower.events()):
    threading.Thread(target=list, args=(endless,), daemon=True).start()
{end}
print("leads", flush=True)
{last}
"""

_NO_THREADS = """
import atexit
def refuse(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")
atexit.register(lambda: setattr(threading.Thread, "start", refuse))
"""

_HANGING = """
faulty = FaultyStore()
for number in range(3):
    assert Candidate(faulty.opened(), f"key/{number}", "a", ttl=30).wait_elected(5)
faulty.inject(Fault.HANGS)
"""


@pytest.mark.parametrize(
    ("count", "end", "last"),
    [
        pytest.param(1, "", "", id="falls off its end"),
        pytest.param(30, "", "", id="with many candidates"),
        pytest.param(1, "", "sys.exit(0)", id="sys.exit"),
        pytest.param(
            1,
            "",
            "one = threading.Thread(target=sys.exit, args=(3,)); one.start(); one.join()",
            id="sys.exit in a thread",
        ),
        pytest.param(30, _NO_THREADS, "", id="no new threads at exit, as Python 3.12 has it"),
        pytest.param(2, _HANGING, "", id="another store hangs"),
        pytest.param(
            1, "", "__import__('os').kill(__import__('os').getpid(), 2); time.sleep(9)", id="ctrl-c"
        ),
    ],
)
def test_program_that_ends_releases_what_it_holds(
    tmp_path: Path, count: int, end: str, last: str
) -> None:
    """It takes at most two seconds, and prints nothing."""
    database = tmp_path / "store.db"
    program = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", _PROGRAM.format(count=count, end=end, last=last),
         str(database)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    assert program.stdout.readline() == "leads\n", program.communicate()[1]
    start = time.monotonic()
    with open_store(f"sqlite:///{database}") as store:
        waiting = [Candidate(store, f"key/{number}", "b", ttl=30) for number in range(count)]
        for candidate in waiting:
            candidate.run_for_election()
        for candidate in waiting:
            assert candidate.wait_elected(15)  # half a ttl: it was released
        elected = time.monotonic() - start
    _, said = program.communicate(timeout=20)

    assert elected < at_most(2.0)
    assert time.monotonic() - start < at_most(3.0)
    assert said == "" or last.startswith("__import__")
    assert "Exception ignored" not in said


def test_signal_handler_may_stop_a_candidate(tmp_path: Path) -> None:
    """It may do so at any line of the main thread, as services that end on SIGTERM do."""
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    candidate = Candidate(store, "key", "a", ttl=3)
    candidate.run_for_election()
    handled: list[int] = []

    def handler(_number: int, _frame: object) -> None:
        other = Candidate(store, f"other{len(handled)}", "a", ttl=3)
        other.run_for_election()
        other.stop(0)
        handled.append(1)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            with contextlib.suppress(NotElected):  # a file that is slow to answer
                candidate.wait_elected(0.001)  # takes every lock of the engine on its way
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert len(handled) > 20
    assert candidate.stop()
    store.close()


def test_scheduler_may_be_interrupted_while_its_thread_is_started() -> None:
    """A signal handler that posts runs in the thread that holds the lock."""
    scheduler = Scheduler("leadership-test")
    ran = threading.Event()
    with scheduler._starting:
        scheduler.post(ran.set)
    assert ran.wait(1)
    scheduler.close()


_POOL_SECONDS = 60.0


def _lead_and_return(url: str, how: str) -> str:
    """Lead in a worker process, and return without closing anything."""
    store = open_store(url)
    assert Candidate(store, "key", "worker", ttl=_POOL_SECONDS).wait_elected(5)
    if how == "sys.exit":
        sys.exit(0)
    if how == "raise":
        raise SystemExit("of the worker's own")
    return "led"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("how", ["return", "sys.exit", "raise"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_process_of_multiprocessing_releases_at_its_end(
    quick_folder: Path, method: str, how: str
) -> None:
    """A forked worker ends by `os._exit`, which skips the handlers of `atexit`."""
    url = f"sqlite:///{quick_folder}/workers.db"
    context: Any = multiprocessing.get_context(method)
    worker = context.Process(target=_lead_and_return, args=(url, how))
    worker.start()
    worker.join(30)
    assert worker.exitcode == (1 if how == "raise" else 0)
    _elected_at_once(url)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_of_a_process_pool_releases_at_its_end(quick_folder: Path, method: str) -> None:
    """It keeps its store open until the pool is shut down, and leaves nothing then."""
    url = f"sqlite:///{quick_folder}/workers.db"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        assert pool.submit(_lead_and_return, url, "return").result(30) == "led"
    _elected_at_once(url)


def _elected_at_once(url: str) -> None:
    with open_store(url) as store:
        begun = time.monotonic()
        term = Candidate(store, "key", "next", ttl=5).wait_elected(10)
        assert term is not None, "the claim of the worker that has ended is still there"
        assert time.monotonic() - begun < _POOL_SECONDS / 10
