"""Program of a leader that forks children, which try to lead and to release its claim.

Prints one JSON object: what the children saw, and whether the parent led all along.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from leadership_core import Candidate, Follower, ForkedStore, Store, open_store
from tests.mutation import subprocess_hook as elsewhere

held: dict[str, Any] = {}  # what a child finds by name, as if it were the parent


def expect_forked(what: str, call: Callable[[], object]) -> None:
    try:
        got = call()
    except ForkedStore:
        return
    print_error(f"{what} returned {got!r} in the child")


def print_error(what: str) -> None:
    # To the descriptor, as the child's own buffers may never be flushed.
    os.write(2, f"COMPLAINT {what}\n".encode())


def try_everything() -> None:
    """Check for a while that nothing is leader, and that all calls are refused."""
    store: Store = held["store"]
    candidate: Candidate = held["candidate"]
    follower: Follower = held["follower"]
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        if candidate.is_leader or candidate.term is not None or not held["term"].lost:
            print_error("the child leads")
            break
    if held["term"].remaining() > 0:
        print_error("the child's term goes on")
    expect_forked("resign", candidate.resign)
    expect_forked("stop", candidate.stop)
    expect_forked("run_for_election", candidate.run_for_election)
    expect_forked("wait_elected", lambda: candidate.wait_elected(0.1))
    expect_forked("events", candidate.events)
    expect_forked("an iterator of the parent's", lambda: next(held["verdicts"]))
    expect_forked("Candidate", lambda: Candidate(store, "other", "child", ttl=2.0))
    expect_forked("follow_election", follower.follow_election)
    expect_forked("get", lambda: store.get(candidate.key))
    expect_forked("put", lambda: store.put(candidate.key, b"child"))
    expect_forked("delete", lambda: store.delete(candidate.key))
    expect_forked("open_session", lambda: store.open_session(2.0))
    if not store.close():
        print_error("close() in the child is not silent")
    if any(thread.name.startswith("leadership") for thread in threading.enumerate()):
        print_error("the child has threads of the library")


def quit_hard() -> NoReturn:
    try_everything()
    os._exit(0)


def quit_with_cleanup() -> NoReturn:
    try_everything()
    sys.exit(0)  # through the parent's `with` block and atexit


def fail() -> NoReturn:
    raise RuntimeError("a child that fails")  # through the parent's `with` block, too


def drop_everything() -> NoReturn:
    held.clear()
    for name in ("store", "candidate", "follower"):
        sys._getframe(1).f_globals.pop(name, None)
    gc.collect()
    sys.exit(0)


def lead_by_itself() -> NoReturn:
    """Open the store again in the child, which is allowed, and lead."""
    with open_store(held["url"]) as own:
        if own.leader(held["candidate"].key) is None:
            print_error("a store of its own does not work")
        if Candidate(own, held["candidate"].key, "child", ttl=2.0).wait_elected(0.5) is not None:
            print_error("the child was elected although its parent leads")
    os._exit(0)


def fork(what: Callable[[], NoReturn], seconds: float = 10.0) -> bool:
    """Run it in a forked child, where this returns False, leaving through inherited frames."""
    pid = os.fork()
    if pid == 0:
        what()
    deadline = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            print_error(f"the child that was to {what.__name__} hangs")
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            break
        time.sleep(0.005)
    return True


def main(url: str, key: str) -> None:
    with open_store(url) as store:
        candidate = Candidate(store, key, "parent", ttl=2.0)
        verdicts = candidate.run_for_election()
        term = candidate.wait_elected(10)
        assert term is not None
        follower = Follower(store, key)
        follower.wait_leader(5)
        names = {"url": url, "store": store, "candidate": candidate, "follower": follower}
        held.update(names, verdicts=verdicts, term=term)
        parent = os.getpid()
        led: list[bool] = []
        try:
            for what in (quit_hard, quit_with_cleanup, fail, drop_everything, lead_by_itself):
                fork(what)
                led.append(candidate.is_leader and candidate.term is term)
            context = multiprocessing.get_context("fork")
            process = context.Process(target=try_everything)
            process.start()
            process.join(10)
            led.append(candidate.is_leader and candidate.term is term)
            # Longer than what the children could have spoiled would take to show.
            time.sleep(2.2)
            led.append(candidate.is_leader and candidate.term is term)
            leader = store.leader(key)
            led.append(leader is not None and leader.token == term.token)
            print(json.dumps({"led": led, "exit": process.exitcode}), flush=True)
        except BaseException:
            if os.getpid() == parent:
                traceback.print_exc()
                os._exit(1)
            raise
    if os.getpid() == parent:
        print(json.dumps({"closed": True}), flush=True)


if __name__ == "__main__":
    with elsewhere.planted():
        main(*sys.argv[1:])
