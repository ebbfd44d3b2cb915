"""Whole programs in development mode, with every warning an error: signals, and loops that end early."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leadership_core import open_store
from tests.support.paths import ROOT
from tests.support.waiting import at_most

_START = """
import asyncio, gc, os, signal, sys, threading, time
from leadership_core import LeadershipLost, graceful_exit
from leadership_core.aio import Candidate, Follower, open_store
URL, KIND = sys.argv[1:]
if KIND == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop

def run(main):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.get_loop().slow_callback_duration = 60  # the machine may be slow
        return runner.run(main)

def threads():
    until = time.monotonic() + 10  # a thread that has reported its result ends a moment later
    while left := [one.name for one in threading.enumerate() if one.name.startswith("leadership-")]:
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return left

def ready():
    print("ready", flush=True)
"""


class Program:
    """A program that runs in a process of its own.

    Args:
        process: its process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def wait_ready(self) -> None:
        """Wait until it has said that it is ready."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; returns its exit code, and what it has printed and reported."""
        said, reported = self.process.communicate(timeout=at_most(20))
        return self.process.returncode, said, reported


@pytest.fixture
def database(quick_folder: Path) -> str:
    """The URL of a store that several processes may open."""
    return f"sqlite:///{quick_folder}/store.db"


@contextmanager
def started(source: str, url: str, kind: str) -> Iterator[Program]:
    """Start a program; it is killed at the end, if it has not ended."""
    code = _START + textwrap.dedent(source)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, url, kind]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


def assert_free(url: str) -> None:
    """The election has no leader, and the last one has left a claim for no moment."""
    with open_store(url) as store:
        assert store.leader("job") is None


_LEADING = """
    async def main():
        async with open_store(URL) as store:
            async with Candidate(store, "job", "node-1", ttl=60).leading() as term:
                ready()
                {body}
    """
_BODIES = {
    "sleeps": "await asyncio.sleep(60)",
    "works": "while True: await asyncio.sleep(0)",
    "has tasks": "await asyncio.gather(*(asyncio.sleep(60) for _ in range(20)))",
}


@pytest.mark.parametrize(
    ("loop_kind", "body"),
    [
        *(("asyncio", body) for body in _BODIES),
        ("uvloop", "works"),
        *(pytest.param("uvloop", body, marks=pytest.mark.soak) for body in ("sleeps", "has tasks")),
    ],
)
def test_ctrl_c_releases_and_leaves_nothing(database: str, loop_kind: str, body: str) -> None:
    """`asyncio.run` ends in `KeyboardInterrupt`; the claim is withdrawn before."""
    source = _LEADING.format(body=_BODIES[body]) + "\n    run(main())"
    with started(source, database, loop_kind) as program:
        program.wait_ready()
        program.process.send_signal(signal.SIGINT)
        code, _, reported = program.end()

    assert code == -signal.SIGINT
    assert reported.rstrip().endswith("KeyboardInterrupt")
    assert not any(word in reported for word in ("Warning", "never", "destroyed", "ignored"))
    assert_free(database)


@pytest.mark.parametrize(
    ("loop_kind", "body", "signals"),
    [
        ("asyncio", "sleeps", 1),
        ("asyncio", "works", 1),
        ("asyncio", "has tasks", 3),
        ("uvloop", "works", 3),
        *(pytest.param("uvloop", body, 1, marks=pytest.mark.soak) for body in _BODIES),
        *(pytest.param("asyncio", body, 3, marks=pytest.mark.soak) for body in ("sleeps", "works")),
    ],
)
def test_graceful_exit_releases_and_leaves_nothing(
    database: str, loop_kind: str, body: str, signals: int
) -> None:
    """A program of asyncio that gets SIGTERM, once or more often, ends with 143 and no message."""
    source = _LEADING.format(body=_BODIES[body]) + "\n    graceful_exit()\n    run(main())"
    with started(source, database, loop_kind) as program:
        program.wait_ready()
        for _ in range(signals):
            program.process.send_signal(signal.SIGTERM)
        code, _, reported = program.end()

    assert (code, reported) == (128 + signal.SIGTERM, "")
    assert_free(database)


def test_graceful_exit_leaves_a_handler_of_the_loop_alone(database: str, loop_kind: str) -> None:
    """`loop.add_signal_handler` and `graceful_exit` compose in both orders: the loop's handler counts."""
    source = """
    async def main():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        before = graceful_exit(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        after = graceful_exit(signal.SIGTERM)
        print(bool(before), bool(after))
        try:
            async with open_store(URL) as store, Candidate(store, "job", "node-1") as candidate:
                async with candidate.leading():
                    ready()
                    await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", task.cancelling())
    run(main())
    """
    with started(source, database, loop_kind) as program:
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "True False\n"
        program.wait_ready()
        program.process.send_signal(signal.SIGTERM)
        result = program.end()

    assert result == (0, "cancelled 1\n", "")
    assert_free(database)


def test_loop_that_ends_before_the_store_leaves_nothing(database: str, loop_kind: str) -> None:
    """Waits, iterators, callbacks and watches of a closed loop neither warn nor disturb the candidate."""
    source = """
    store = open_store(URL)
    candidate = Candidate(store, "job", "node-1", on_elected=lambda term: None, on_lost=print)

    async def read(things):
        async for _ in things:
            pass

    async def main():
        watch = await store.watch("key", lambda change: None)
        follower = Follower(store, "job", on_leader=lambda leader: None)
        for things in (candidate.events(), follower.events(), store.watch("other")):
            asyncio.create_task(read(things))
        await candidate.wait_elected()
        await store.put("key", b"1")
        asyncio.create_task(Candidate(store, "job", "node-2").wait_elected())
        await asyncio.sleep(0.1)
    run(main())

    gc.collect()
    assert candidate.is_leader
    store.blocking.put("key", b"2")

    async def second():
        async for elected in candidate.run_for_election():
            print(elected)
            break
        await store.close()
    run(second())
    gc.collect()
    print(threads())
    """
    with started(source, database, loop_kind) as program:
        result = program.end()

    assert result == (0, "True\n[]\n", "")
    assert_free(database)


def test_tasks_of_a_closed_loop_release_when_they_are_collected(
    database: str, loop_kind: str
) -> None:
    """A loop that is closed with a task in a block: the claim is withdrawn, and only asyncio complains."""
    source = """
    store = open_store(URL)

    async def work():
        async with Candidate(store, "job", "node-1", ttl=60).leading():
            ready()
            await asyncio.sleep(60)

    async def work_for_lock():
        async with store.lock("lock", ttl=60):
            await asyncio.sleep(60)

    loop = new_event_loop()
    tasks = [loop.create_task(work()), loop.create_task(work_for_lock())]
    async def wait():
        while not all([await store.leader(key) for key in ("job", "lock")]):
            await asyncio.sleep(0.01)
    loop.run_until_complete(wait())
    loop.close()
    del tasks, loop
    gc.collect()
    until = time.monotonic() + 20
    while store.blocking.leader("job") or store.blocking.leader("lock"):
        assert time.monotonic() < until, "the claims are kept"
        time.sleep(0.01)
    asyncio.run(store.close())
    """
    with started(source, database, loop_kind) as program:
        program.wait_ready()
        code, _, reported = program.end()

    assert code == 0, reported
    assert "GeneratorExit" not in reported
    assert "RuntimeError" not in reported
    assert reported.count("Task was destroyed but it is pending") <= 2
    assert_free(database)


def test_abandoned_iterators_leave_nothing(database: str, loop_kind: str) -> None:
    """Iterators that are left in the middle end without `aclose`, and their watches are closed."""
    source = """

    async def main():
        async with open_store(URL) as store, Candidate(store, "job", "node-1") as candidate:
            await store.put("key", b"1")
            for _ in range(20):
                follower = Follower(store, "job")
                for things in (
                    candidate.events(), candidate.run_for_election(), follower.events(),
                    follower.follow_election(), store.watch("key"),
                ):
                    async for _ in things:
                        break
                waiting = asyncio.create_task(anext(candidate.events()))
                waiting.cancel()
            assert len(candidate._control._changed._subscribers) == 0
            until = time.monotonic() + 20
            while open_watches(store) > 1:  # the one of the candidate
                assert time.monotonic() < until, open_watches(store)
                await asyncio.sleep(0.01)

    def open_watches(store):
        from leadership_core.aio.watch import _Subscription
        gc.collect()
        return sum(isinstance(one, _Subscription) for one in gc.get_objects())

    run(main())
    print(threads())
    """
    with started(source, database, loop_kind) as program:
        result = program.end()

    assert result == (0, "[]\n", "")


def test_unclosed_store_is_reported(database: str) -> None:
    """A store that is dropped warns once, as one for threads does."""
    source = """
    async def main():
        await open_store(URL).put("key", b"1")
    run(main())
    gc.collect()
    print(threads())  # the one that has made the request may drop the store, and is then reporting it
    """
    with started(source, database, "asyncio") as program:
        code, left, reported = program.end()

    assert (code, left) == (0, "[]\n")
    assert reported.count("ResourceWarning: unclosed store") == 1
