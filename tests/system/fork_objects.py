"""Program that forks children, each of which calls everything that it has inherited.

Prints one JSON object: what each child's calls came to, by the way of forking, and whether the
parent's objects worked on afterwards.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NoReturn

from leadership_core import Candidate, Follower, Store, Term, open_store
from leadership_core.backend import Leading
from leadership_core.engine.store_base import internals

_SECONDS = 20  # that a child has
_PLAIN = (dict, list, tuple, set, frozenset, types.MethodType, types.FunctionType, types.CellType)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))

Calls = dict[str, Callable[[], object]]


class HeldData:
    """All objects that a program may hold on one store, and their calls."""

    def __init__(self, url: str, key: str) -> None:
        self.stack = ExitStack()
        self.store: Store = self.stack.enter_context(open_store(url))
        self.received: list[object] = []
        receive = self.received.append
        self.key = f"{key}/watched"
        self.session = self.store.open_session(15)
        self.stack.callback(self.session.close)
        self.election = self.store.election(f"{key}/race")
        self.claim = self.election.enter(self.session, b"held")
        self.watches = {
            "watch": self.store.watch(self.key, receive),
            "watch_tree": self.store.watch_tree(key, receive),
            "watch_leader": self.election.watch_leader(receive),
            "watch_claim": self.election.watch_claim(self.claim, lambda: receive("turn")),
        }
        self.candidate = Candidate(self.store, f"{key}/led", "held", ttl=15)
        self.term = _elected(self.candidate.wait_elected(10))
        self.follower = Follower(self.store, f"{key}/led")
        assert self.follower.wait_leader(10), "there is no leader"
        self.lock = self.store.lock(f"{key}/locked", ttl=15)
        self.lock_term = _elected(self.lock.acquire(10))
        self.iterators: dict[str, Iterator[Any]] = {
            "run_for_election": self.candidate.run_for_election(),
            "candidate.events": self.candidate.events(),
            "follow_election": self.follower.follow_election(),
            "follower.events": self.follower.events(),
        }

    def calls(self) -> Calls:
        """The calls that are refused in a child."""
        store, session, election, claim = self.store, self.session, self.election, self.claim
        candidate, follower, lock, backend = self.candidate, self.follower, self.lock, self.backend
        key = self.key
        found: Calls = {
            "store.get": lambda: store.get(key),
            "store.exists": lambda: store.exists(key),
            "store.list": lambda: store.list(key),
            "store.put": lambda: store.put(key, b"child"),
            "store.put session": lambda: store.put(key, b"child", session=session),
            "store.put fence": lambda: store.put(key, b"child", fence=self.term),
            "store.delete": lambda: store.delete(key),
            "store.delete_tree": lambda: store.delete_tree(key),
            "store.watch": lambda: store.watch(key, print),
            "store.watch_tree": lambda: store.watch_tree(key, print),
            "store.open_session": lambda: store.open_session(15),
            "store.election": lambda: store.election(key),
            "store.leader": lambda: store.leader(key),
            "store.lock": lambda: store.lock(key),
            "store.__enter__": store.__enter__,
            "session.renew": session.renew,
            "session.close": session.close,
            "election.enter": lambda: election.enter(session, b"child"),
            "election.status": lambda: election.status(claim),
            "election.withdraw": lambda: election.withdraw(claim),
            "election.watch_claim": lambda: election.watch_claim(claim, print),
            "election.leader": election.leader,
            "election.watch_leader": lambda: election.watch_leader(print),
            "Candidate": lambda: Candidate(store, key, "child"),
            "candidate.run_for_election": candidate.run_for_election,
            "candidate.events": candidate.events,
            "candidate.wait_elected": lambda: candidate.wait_elected(0.1),
            "candidate.leading": lambda: candidate.leading(0.1).__enter__(),
            "candidate.lead": lambda: candidate.lead(print),
            "candidate.resign": candidate.resign,
            "candidate.stop": candidate.stop,
            "Follower": lambda: Follower(store, key),
            "follower.leader": lambda: follower.leader,
            "follower.wait_leader": lambda: follower.wait_leader(0.1),
            "follower.follow_election": follower.follow_election,
            "follower.events": follower.events,
            "follower.stop": follower.stop,
            "lock.acquire": lambda: lock.acquire(0.1),
            "lock.release": lock.release,
            "lock.__enter__": lock.__enter__,
            "backend.get": lambda: backend.get(key),
            "backend.list": lambda: backend.list(key),
            "backend.put": lambda: backend.put(key, b"child"),
            "backend.delete": lambda: backend.delete(key),
            "backend.watch": lambda: backend.watch(key, print),
            "backend.open_session": lambda: backend.open_session(15),
        }
        found |= {f"next({n})": lambda i=i: next(i) for n, i in self.iterators.items()}  # type: ignore[misc]  # mypy cannot type a lambda's defaults
        return found

    def inert(self) -> Calls:
        """The calls that succeed in a child and have no effect."""
        found: Calls = {
            "store.close": self.store.close,
            "store.__exit__": lambda: self.store.__exit__(None, None, None),
            "backend.close": self.backend.close,
            "lock.__exit__": lambda: self.lock.__exit__(None, None, None),
            "candidate.is_leader": lambda: self.candidate.is_leader,
            "candidate.term": lambda: self.candidate.term,
            "lock.term": lambda: self.lock.term,
            "term.lost": lambda: self.term.lost,
            "term.remaining": self.term.remaining,
            "term.wait_lost": lambda: self.term.wait_lost(1),
        }
        found |= {f"{name}.close": watch.close for name, watch in self.watches.items()}
        return found

    @property
    def backend(self) -> Any:
        return internals(self.store)._backend

    def works_on(self) -> dict[str, bool]:
        """Whether all objects still work in the parent."""
        self.session.renew()
        status = self.election.status(self.claim)
        before = len(self.received)
        self.store.put(self.key, str(time.monotonic()).encode())
        until = time.monotonic() + 5
        while len(self.received) < before + 2 and time.monotonic() < until:
            time.sleep(0.01)
        return {
            "leads": self.candidate.term is self.term,
            "holds the lock": self.lock.term is self.lock_term,
            "status": status == Leading(self.claim.token or 0, watched=status.watched),  # type: ignore[union-attr]  # or it is not Leading, and unequal
            "hears": len(self.received) >= before + 2,
        }


def _elected(term: Term | None) -> Term:
    assert term is not None, "not elected in time"
    return term


def locks_of(*roots: object) -> Iterator[Any]:
    """All locks that can be reached from these objects through objects of the library."""
    seen, todo = set[int](), list(roots)
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, _LOCKS):
            yield one
        module = type(one).__module__
        ours = module.startswith("leadership_") or isinstance(
            one, (*_PLAIN, threading.Condition, threading.Event)
        )
        if isinstance(one, types.FunctionType):
            todo += list(one.__closure__ or ())
        elif ours:
            todo += gc.get_referents(one)


def report(held: HeldData, sink: int) -> None:
    """Call everything, and write the outcomes."""
    came: dict[str, str] = {}
    for name, call in (held.calls() | held.inert()).items():
        try:
            came[name] = repr(call())
        except Exception as error:  # noqa: BLE001 - it is what is asked for
            came[name] = type(error).__name__
    os.write(sink, json.dumps(came).encode())


def child(held: HeldData, sink: int, end: Callable[[], NoReturn]) -> NoReturn:
    signal.alarm(_SECONDS)
    try:
        report(held, sink)
    finally:
        end()


def finalise() -> NoReturn:
    gc.collect()
    sys.exit(0)  # with the interpreter's finalisation, its exit handlers included


def at_once() -> NoReturn:
    os._exit(0)


def fork(held: HeldData, end: Callable[[], NoReturn]) -> dict[str, Any]:
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(held, sink, end)
    os.close(sink)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(source) as read:
        said = read.read()
    return {"exit": status, "came": json.loads(said) if said else {}}


def fork_with_locks_held(held: HeldData) -> dict[str, Any]:
    """Fork while another thread holds all of these locks."""
    ready, enough = threading.Event(), threading.Event()
    taken: list[Any] = []

    def hold() -> None:
        taken.extend(
            lock for lock in set(locks_of(*vars(held).values())) if lock.acquire(timeout=0.2)
        )
        ready.set()
        enough.wait(_SECONDS)
        for lock in taken:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait()
    try:
        return {**fork(held, at_once), "locks": len(taken)}
    finally:
        enough.set()
        holder.join()


def fork_in_a_thread(held: HeldData) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(fork(held, at_once)))
    thread.start()
    thread.join()
    return found[0]


def main() -> None:
    url, key = sys.argv[1:]
    held = HeldData(url, key)
    outcome = {
        "plain": fork(held, finalise),
        "thread": fork_in_a_thread(held),
        "locked": fork_with_locks_held(held),
        "works": held.works_on(),
    }
    held.candidate.stop()
    held.lock.release()
    held.stack.close()
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
