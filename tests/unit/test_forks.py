"""Forked children of a leading process: they are not leader, and release nothing."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from leadership_core import (
    Candidate,
    Follower,
    ForkedStore,
    LeadershipLost,
    Store,
    StoreError,
    open_store,
)
from tests.support.internals import candidate_control
from tests.support.waiting import eventually
from tests.unit.conftest import Open

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_child(body: Callable[[], object], *, end: Callable[[int], None] = os._exit) -> int:
    """Run it in a forked child within 10 s; returns 0 if it returned, and 1 if it raised."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        status = 1
        try:
            body()
            status = 0
        except Exception as error:  # noqa: BLE001 - it must not get into the test's own frames
            print(f"in the child: {error!r}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            end(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def all_refused(store: Store, candidate: Candidate, follower: Follower) -> None:
    """Check that every call raises `ForkedStore`, and that nothing in this process is leader."""
    assert not candidate.is_leader
    assert candidate.term is None
    for call in (
        candidate.run_for_election, candidate.events, candidate.wait_elected, candidate.resign,
        candidate.stop, lambda: candidate.lead(print), lambda: candidate.leading().__enter__(),
        follower.follow_election, follower.events, follower.wait_leader, follower.stop,
        lambda: follower.leader, lambda: Candidate(store, "x", "y"), lambda: Follower(store, "x"),
        lambda: store.get("key"), lambda: store.list("key"), lambda: store.put("key", b""),
        lambda: store.delete("key"), lambda: store.watch("key", print), lambda: store.leader("key"),
        lambda: store.open_session(3), lambda: store.election("key"), store.__enter__,
    ):  # fmt: skip
        try:
            call()
        except ForkedStore:
            continue
        raise AssertionError(f"{call} did not raise")
    assert store.close()


def test_child_is_not_leader_and_touches_nothing(open_one: Open) -> None:
    """The parent keeps its term, and goes on renewing."""
    store = open_one()
    candidate, follower = Candidate(store, "key", "a", ttl=4), Follower(store, "key")
    term = candidate.wait_elected(3)
    assert term is not None
    debug_state = candidate_control(candidate).debug_state
    values, stream = candidate.run_for_election(), candidate.events()
    leaders = follower.follow_election()
    assert next(values)
    assert follower.wait_leader(3)

    def child() -> None:
        all_refused(store, candidate, follower)
        assert term.lost
        assert term.wait_lost(1)
        assert term.remaining() == 0
        for iterator in (values, stream, leaders):
            with pytest.raises(ForkedStore):
                next(iterator)
        with pytest.raises(LeadershipLost):
            term.check()

    for _ in range(5):
        assert in_child(child) == 0
    deadline = debug_state().deadline
    assert deadline is not None
    assert eventually(lambda: (debug_state().deadline or 0.0) > deadline, 5)
    assert candidate.term is term


@pytest.mark.parametrize("how", ["exit", "_exit", "raise", "with", "atexit"])
def test_child_releases_nothing_at_its_end(open_one: Open, how: str) -> None:
    """Neither the end of an inherited `with` block nor that of the process releases the claim."""
    store, other = open_one(), open_one()
    candidate = Candidate(store, "key", "a", ttl=20)

    with candidate.leading(3) as term:
        pid = os.fork()
        if pid == 0:
            _end(store, candidate, how)
        os.waitpid(pid, 0)
        assert candidate.term is term
        leader = other.leader("key")
        assert leader is not None
        assert leader.token == term.token


def _end(store: Store, candidate: Candidate, how: str) -> None:
    """End this child, and leave the inherited `with` block on the way."""
    try:
        with store if how != "with" else candidate.leading(1):
            if how == "raise":
                raise KeyError("mine")
            if how == "exit":
                sys.exit(0)
    except (SystemExit, KeyError, ForkedStore):
        store.__exit__(*sys.exc_info())
    finally:
        if how == "atexit":
            atexit._run_exitfuncs()
        os._exit(0)


def test_child_of_multiprocessing(open_one: Open) -> None:
    """It runs the exit handlers of multiprocessing, and its own."""
    store = open_one()
    candidate, follower = Candidate(store, "key", "a", ttl=20), Follower(store, "key")
    term = candidate.wait_elected(3)
    child = multiprocessing.get_context("fork").Process(
        target=all_refused, args=(store, candidate, follower)
    )
    child.start()
    child.join(10)

    assert child.exitcode == 0
    assert candidate.term is term


def test_child_may_open_a_new_store() -> None:
    """On `memory://` the child has its own memory, whatever its parent stored."""
    with open_store("memory://shared") as store:
        candidate = Candidate(store, "key", "a", ttl=20)
        assert candidate.wait_elected(3)

        def child() -> None:
            with open_store("memory://shared") as again:
                assert Candidate(again, "key", "child", ttl=3).wait_elected(3)

        assert in_child(child) == 0
        assert candidate.is_leader


def test_fork_while_a_store_is_being_closed(open_one: Open) -> None:
    """In the child the store belongs to the parent, as usual."""
    store = open_one()
    candidate = Candidate(store, "key", "a", ttl=20)
    candidate.wait_elected(3)
    seen: list[int] = []
    control = candidate_control(candidate)
    stop = control.begin_stop

    def begin_stop() -> None:
        seen.append(in_child(lambda: _not_leader(candidate)))
        stop()

    control.begin_stop = begin_stop  # type: ignore[method-assign]  # a stand-in for this test
    store.close()
    assert seen
    assert set(seen) == {0}


def _not_leader(candidate: Candidate) -> None:
    assert not candidate.is_leader
    try:
        candidate.resign()
    except ForkedStore:
        return
    raise AssertionError("resign did not raise")


@pytest.mark.slow
def test_fork_at_any_moment_does_not_hang_the_child(open_one: Open) -> None:
    """Other threads may hold any lock at that moment."""
    stores = [open_one() for _ in range(2)]
    leader, follower = Candidate(stores[0], "key", "a", ttl=5), Follower(stores[0], "key")
    assert leader.wait_elected(3)
    assert follower.wait_leader(3)
    enough = threading.Event()

    def churn(seed: int) -> None:
        rng = random.Random(seed)
        while not enough.is_set():
            candidate = Candidate(rng.choice(stores), f"k{rng.randrange(3)}", "x", ttl=5)
            try:
                if candidate.wait_elected(0.01):
                    candidate.resign(0)
                candidate.events()
                candidate.stop(0.02)
            except StoreError:
                continue

    threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(4)]
    for one in threads:
        one.start()
    try:
        statuses = [in_child(lambda: all_refused(stores[0], leader, follower)) for _ in range(40)]
    finally:
        enough.set()
        for one in threads:
            one.join()

    assert set(statuses) == {0}
    assert leader.is_leader
