"""`Candidate.working` and `Candidate.only_leader`: work outside of `lead`."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import pytest

from leadership_core import (
    Candidate,
    ConfigurationError,
    ForkedStore,
    LeadershipLost,
    LostReason,
    NotElected,
    Store,
    StoreUnavailable,
    Term,
)
from tests.support.internals import lease_of
from tests.support.waiting import at_most, eventually
from tests.unit.conftest import Open
from tests.unit.faulty import Fault, FaultyStore


def elected(store: Store, value: str = "a", ttl: float = 20) -> Candidate:
    """A candidate that leads."""
    candidate = Candidate(store, "key", value, ttl=ttl)
    assert candidate.wait_elected(5)
    return candidate


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Check that a block takes no longer, on an idle machine."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < at_most(seconds)


class Block:
    """A `working` block in a thread of its own."""

    def __init__(self, candidate: Candidate) -> None:
        self._inside, self._leave = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(candidate,), daemon=True)
        self._thread.start()
        assert self._inside.wait(5)

    def _run(self, candidate: Candidate) -> None:
        try:
            with candidate.working():
                self._inside.set()
                self._leave.wait(60)
        except Exception as error:  # noqa: BLE001 - the test compares it
            self.error = error

    def leave(self) -> None:
        """End it."""
        self._leave.set()
        self._thread.join(10)


def test_working_yields_the_term_at_once(store: Store) -> None:
    """The term is that of the candidate, and it goes on after the block."""
    candidate = elected(store)
    with candidate.working() as term:
        assert term is candidate.term
    assert candidate.is_leader


@pytest.mark.parametrize("state", ["new", "waiting", "stopped", "resigned"])
def test_working_raises_not_elected_at_once(open_one: Open, state: str) -> None:
    """A candidate that does not lead does not wait to be elected; the message says why."""
    holder = elected(open_one(), "holder") if state == "waiting" else None
    candidate = Candidate(open_one(), "key", "a", ttl=20)
    why = "was not started"
    if state != "new":
        candidate.wait_elected(0 if holder else 5)
        why = "is not elected"
    if state == "stopped":
        candidate.stop()
        why = "was stopped"
    if state == "resigned":
        candidate.resign(60)

    with within(5), pytest.raises(NotElected, match=f"'a' does not lead key on .*: it {why}"):
        candidate.working().__enter__()
    with pytest.raises(NotElected):
        candidate.only_leader(lambda: None)()


def test_working_names_the_store_that_is_down(faulty: FaultyStore, opened: Store) -> None:
    """A store that does not answer is the cause."""
    faulty.inject(Fault.UNAVAILABLE)
    candidate = Candidate(opened, "key", "a", ttl=3)
    with pytest.raises(NotElected):
        candidate.wait_elected(0)
    with pytest.raises(NotElected) as caught, candidate.working():
        pass
    assert isinstance(caught.value.__cause__, StoreUnavailable)


@pytest.mark.parametrize("leave", [lambda one: one.resign(60), lambda one: one.stop()])
def test_release_waits_for_the_last_block(
    open_one: Open, leave: Callable[[Candidate], bool]
) -> None:
    """`resign` and `stop` wait; no other candidate is elected before the last block has ended."""
    candidate = elected(open_one())
    other = Candidate(open_one(), "key", "b", ttl=20)
    other.start()
    blocks = [Block(candidate) for _ in range(3)]
    confirmed: list[bool] = []
    leaver = threading.Thread(target=lambda: confirmed.append(leave(candidate)), daemon=True)
    leaver.start()
    assert eventually(lambda: not candidate.is_leader)
    for block in blocks:
        assert other.wait_elected(0.1) is None
        assert confirmed == []
        block.leave()
    assert other.wait_elected(at_most(5))
    leaver.join(10)
    assert confirmed == [True]
    assert [block.error for block in blocks] == [None] * 3
    candidate.stop()


def test_stop_waits_for_a_block_within_its_timeout(store: Store) -> None:
    """It returns False, and the release follows when the block has ended."""
    candidate = elected(store)
    block = Block(candidate)
    assert candidate.stop(timeout=0.05) is False
    assert store.leader("key") is not None
    block.leave()
    assert eventually(lambda: store.leader("key") is None)


def test_release_waits_to_the_end_of_the_lease_at_most(open_one: Open) -> None:
    """A block that does not end delays the next leader no longer than a leader that has died."""
    candidate = elected(open_one(), ttl=1)
    other = Candidate(open_one(), "key", "b", ttl=3)
    block = Block(candidate)
    candidate.resign(60)
    assert other.wait_elected(20)
    block.leave()


def test_stop_and_resign_inside_a_block_do_not_wait(open_one: Open) -> None:
    """Neither does the store's `close`; all of it happens when the outermost block has ended."""
    store, observer = open_one(), open_one()
    candidate = elected(store)
    with within(5), candidate.working() as term:
        with candidate.working():
            assert candidate.resign() is False
            assert term.lost
            assert candidate.stop() is False
            assert store.close() is False
        assert observer.leader("key") is not None
    assert eventually(lambda: observer.leader("key") is None)
    with pytest.raises(NotElected), candidate.working():
        pass


def test_leaving_inside_a_block_does_not_wait_for_it(store: Store) -> None:
    """The exit of `leading` cannot wait for a block around it in the same thread."""
    candidate = elected(store)
    with within(5), candidate.working(), candidate.leading(timeout=5):
        pass
    assert eventually(lambda: store.leader("key") is None)


def test_block_may_end_in_another_thread(open_one: Open) -> None:
    """What counts is the block, not the thread."""
    store = open_one()
    candidate = elected(store)
    block = ExitStack()
    entering = threading.Thread(target=lambda: block.enter_context(candidate.working()))
    entering.start()
    entering.join()
    assert candidate.stop(timeout=0.05) is False
    assert store.leader("key") is not None
    block.close()
    assert eventually(lambda: store.leader("key") is None)


def test_block_that_outlives_its_term_raises(store: Store) -> None:
    """A body that has ended normally gets `LeadershipLost`; its own error is not replaced."""
    candidate = elected(store)
    with pytest.raises(LeadershipLost, match="session_lost"), candidate.working() as term:
        lease_of(term).end(LostReason.SESSION_LOST)
    assert candidate.wait_elected(5)
    block = candidate.working()
    lease_of(block.__enter__()).end(LostReason.SESSION_LOST)
    error = KeyError("mine")
    assert not block.__exit__(KeyError, error, None)
    assert candidate.wait_elected(5)


def test_candidate_campaigns_again_after_the_block_of_a_lost_term(open_one: Open) -> None:
    """Not before: the block may still be using what the leader alone may use."""
    candidate = elected(open_one(), ttl=3)
    block = Block(candidate)
    term = candidate.term
    assert term is not None
    lease_of(term).end(LostReason.SESSION_LOST)
    assert candidate.wait_elected(0.5) is None or candidate.term is None
    assert not candidate.is_leader
    block.leave()
    assert isinstance(block.error, LeadershipLost)
    assert candidate.wait_elected(5)


def test_signal_handler_may_stop_inside_a_block(store: Store) -> None:
    """It does not wait for the block that it has interrupted."""
    candidate = elected(store)
    stopped: list[bool] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: stopped.append(candidate.stop()))
    try:
        with within(10), candidate.working():
            os.kill(os.getpid(), signal.SIGUSR1)
            assert eventually(lambda: stopped == [False])
            assert store.leader("key") is not None
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert eventually(lambda: store.leader("key") is None)


def test_forked_child_cannot_work(store: Store) -> None:
    """A block that the parent has entered ends in the child without effect; a new one is refused."""
    candidate = elected(store)
    with candidate.working():
        pid = os.fork()
        if pid == 0:
            try:
                candidate.working().__enter__()
            except ForkedStore:
                os._exit(7)
            os._exit(1)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert candidate.is_leader


def test_only_leader_runs_the_function_while_leading(open_one: Open) -> None:
    """Arguments and results pass; the claim is kept for the time of the call."""
    store = open_one()
    candidate = Candidate(store, "key", "a", ttl=20)

    @candidate.only_leader
    def add(one: int, *, two: int = 2) -> int:
        """Add numbers."""
        assert candidate.stop() is False
        assert store.leader("key") is not None
        return one + two

    @candidate.only_leader(otherwise=-1)
    def minus(one: int) -> int:
        return -one

    @candidate.only_leader()
    def plus(one: int) -> int:
        return +one

    with pytest.raises(NotElected):
        add(1)
    with pytest.raises(NotElected):
        plus(1)
    assert minus(5) == -1
    assert candidate.wait_elected(5)
    assert (minus(5), plus(5)) == (-5, 5)
    assert add(1, two=5) == 6
    assert add.__doc__ == "Add numbers."
    assert inspect.signature(add) == inspect.signature(add.__wrapped__)  # type: ignore[attr-defined]  # as functools sets it
    assert eventually(lambda: store.leader("key") is None)


def test_only_leader_keeps_a_coroutine_function_one(open_one: Open) -> None:
    """Its release waits for the end of the coroutine; tasks of one thread overlap."""
    store = open_one()
    candidate = Candidate(store, "key", "a", ttl=20)

    @candidate.only_leader
    async def work(seconds: float) -> float:
        await asyncio.sleep(seconds)
        assert store.leader("key") is not None
        return seconds

    @candidate.only_leader(otherwise="nothing")
    async def other() -> str:
        return "something"

    async def program() -> list[float]:
        assert await other() == "nothing"
        with pytest.raises(NotElected):
            await work(0)
        assert await asyncio.to_thread(candidate.wait_elected, 5)
        assert await other() == "something"
        tasks = [asyncio.create_task(work(seconds)) for seconds in (0.1, 0.3)]
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(asyncio.to_thread(candidate.stop))
        results = await asyncio.gather(*tasks)
        assert await stopping
        return list(results)

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(program()) == [0.1, 0.3]


def test_only_leader_raises_the_loss(store: Store) -> None:
    """`NotElected` that the function raises itself passes, also where there is an `otherwise`."""
    candidate = elected(store)

    @candidate.only_leader(otherwise=None)
    def work(term: Term) -> None:
        lease_of(term).end(LostReason.DELETED)

    @candidate.only_leader(otherwise=None)
    def fails() -> None:
        raise NotElected("mine")

    with pytest.raises(NotElected, match="mine"):
        fails()
    term = candidate.term
    assert term is not None
    with pytest.raises(LeadershipLost, match="deleted"):
        work(term)


def _generator() -> Iterator[None]:
    yield


async def _async_generator() -> Any:
    yield


@pytest.mark.parametrize("wrong", [_generator, _async_generator, "text", None, 3])
def test_only_leader_refuses_what_a_call_does_not_run(store: Store, wrong: Any) -> None:
    """The decorator itself raises, and says what to do."""
    candidate = Candidate(store, "key", "a")
    for decorate in (candidate.only_leader, candidate.only_leader(otherwise=None)):
        with pytest.raises(ConfigurationError, match="only_leader"):
            decorate(wrong)
    with pytest.raises(ConfigurationError, match="only_leader"):
        candidate.only_leader(print, print)  # type: ignore[call-overload]  # the mistake under test


def test_only_leader_refuses_a_coroutine_that_nothing_awaits(store: Store) -> None:
    """A function that returns a coroutine would run outside of the block."""
    candidate = elected(store)
    with pytest.raises(ConfigurationError, match="only_leader"):
        candidate.only_leader(cast(Any, lambda: asyncio.sleep(1)))()
