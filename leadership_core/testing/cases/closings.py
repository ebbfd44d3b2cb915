"""Cases of closing a watch while its callback runs, for all four kinds of watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...backend.protocols import Capability, Closable
from .. import recorders
from ..case import needs
from ..manual_candidate import ManualCandidate
from ..sandbox import Sandbox
from .assertions import is_equal

__all__ = ["ClosingCases"]

_MOMENT = 0.15  # seconds for something that must not happen
_ROUNDS = 25  # watches that are closed at any moment


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of watch, and what changes the watched state.

    Attributes:
        name: of the method that begins the watch.
        begin: begins it with a callback that takes anything.
        changes: three changes of what is watched, to be made in this order.
    """

    name: str
    begin: Callable[[Callable[..., None]], Closable]
    changes: tuple[Callable[[], object], ...]


class ClosingCases:
    """No call begins after `close` has returned, and `close` inside a call does not wait."""

    def test_watch_close_waits_for_a_running_callback(self, sandbox: Sandbox) -> None:
        """A callback under way is awaited, also by a second `close` meanwhile, and is the last one."""
        for kind in _entry_kinds(sandbox):
            _check_close_waits(sandbox, kind)

    @needs(Capability.SESSIONS)
    def test_election_watch_close_waits_for_a_running_callback(self, sandbox: Sandbox) -> None:
        """`watch_leader` and `watch_claim` behave as `watch` does."""
        for kind in _election_kinds(sandbox):
            _check_close_waits(sandbox, kind)

    def test_watch_close_inside_its_callback_returns_at_once(self, sandbox: Sandbox) -> None:
        """It waits neither for its own call nor for a lock, and that call is the last one."""
        for kind in _entry_kinds(sandbox):
            _check_close_inside(sandbox, kind)

    @needs(Capability.SESSIONS)
    def test_election_watch_close_inside_its_callback_returns_at_once(
        self, sandbox: Sandbox
    ) -> None:
        """`watch_leader` and `watch_claim` behave as `watch` does."""
        for kind in _election_kinds(sandbox):
            _check_close_inside(sandbox, kind)

    def test_watch_close_at_a_random_moment_ends_its_callbacks(self, sandbox: Sandbox) -> None:
        """During a storm of writes no callback begins after `close` has returned."""
        key, other, over = sandbox.key("a"), sandbox.open(), threading.Event()

        def write() -> None:
            number = 0
            while not over.is_set():
                other.put(key, b"%d" % number)
                number += 1

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        late: list[str] = []
        try:
            for round_ in range(_ROUNDS):
                closed = threading.Event()

                def hear(change: Any, closed: threading.Event = closed) -> None:
                    if closed.is_set():
                        late.append(repr(change))

                watch = sandbox.store.watch(key, hear)
                time.sleep(0.001 * (round_ % 7))
                watch.close()
                closed.set()
            time.sleep(_MOMENT)
        finally:
            over.set()
            writer.join(recorders.DEFAULT_WAIT)
        assert not late, f"{len(late)} calls began after close() had returned, such as {late[0]}"


def _entry_kinds(sandbox: Sandbox) -> Iterator[_Kind]:
    other = sandbox.open()
    for name in ("watch", "watch_tree"):
        key = sandbox.key("a/b")
        watched = key if name == "watch" else key.rpartition("/")[0]
        method = getattr(sandbox.store, name)
        yield _Kind(
            name,
            lambda callback, method=method, watched=watched: method(watched, callback),  # type: ignore[misc]  # mypy cannot type a lambda's defaults
            tuple(lambda n=n, key=key: other.put(key, b"%d" % n) for n in range(3)),  # type: ignore[misc]  # mypy infers no lambda with defaults
        )


def _election_kinds(sandbox: Sandbox) -> Iterator[_Kind]:
    key, other = sandbox.key("leader"), sandbox.open()
    first, second = (
        ManualCandidate(sandbox, key, store=other),
        ManualCandidate(sandbox, key, store=other),
    )
    assert first.leads(), "the only candidate does not lead"
    yield _Kind(
        "watch_leader",
        lambda callback: sandbox.store.election(key).watch_leader(callback),
        (first.withdraw, second.enter, second.withdraw),
    )
    key = sandbox.key("leader")
    ahead, waiting = ManualCandidate(sandbox, key), ManualCandidate(sandbox, key)
    assert ahead.leads(), "the only candidate does not lead"
    assert waiting.waits(), "the second candidate does not wait"

    def begin(callback: Callable[..., None]) -> Closable:
        watch = waiting.election.watch_claim(waiting.claim, callback)
        waiting.waits()  # some stores learn from this read which claim is next before it
        return watch

    yield _Kind(
        "watch_claim",
        begin,
        (ahead.withdraw, waiting.withdraw, lambda: None),
    )


def _check_close_waits(sandbox: Sandbox, kind: _Kind) -> None:
    calls: list[str] = []
    armed, inside, proceed = threading.Event(), threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        if not armed.is_set():
            return
        calls.append("begins")
        inside.set()
        proceed.wait(recorders.DEFAULT_WAIT)
        calls.append("ends")

    watch = _begin(sandbox, kind, slow)
    armed.set()
    # In threads: a store may call back in the one that makes the change, and a callback that
    # does not return may hold up the connection that it was called from.
    writers = [_started(kind.changes[0])]
    closers: list[threading.Thread] = []
    try:
        assert inside.wait(recorders.DEFAULT_WAIT), f"{kind.name}: the change was not reported"
        writers.append(_started(kind.changes[1]))
        closers = [_started(watch.close) for _ in range(2)]
        time.sleep(_MOMENT)
        waits = [closer.is_alive() for closer in closers]
        is_equal(waits, [True, True], f"{kind.name}: whether close() waits for a call under way")
    finally:
        proceed.set()
        for thread in (*closers, *writers):
            thread.join(recorders.DEFAULT_WAIT)
    stuck = [thread for thread in (*closers, *writers) if thread.is_alive()]
    assert not stuck, f"{kind.name}: close() did not return after the call: {stuck}"
    kind.changes[2]()
    time.sleep(_MOMENT)
    is_equal(calls, ["begins", "ends"], f"{kind.name}: calls, of which one was under way at close")


def _check_close_inside(sandbox: Sandbox, kind: _Kind) -> None:
    armed, closed = threading.Event(), threading.Event()
    took: list[float] = []

    def once(*_: Any) -> None:
        if not armed.is_set():
            return
        begun = time.monotonic()
        watch.close()
        took.append(time.monotonic() - begun)
        closed.set()

    watch = _begin(sandbox, kind, once)
    armed.set()
    writer = _started(kind.changes[0])
    assert closed.wait(2 * recorders.DEFAULT_WAIT), (
        f"{kind.name}: close() inside the callback hangs"
    )
    writer.join(recorders.DEFAULT_WAIT)
    assert took[0] < recorders.DEFAULT_WAIT / 2, f"{kind.name}: close() took {took[0]:.2f} s inside"
    for change in kind.changes[1:]:
        change()
    time.sleep(_MOMENT)
    is_equal(len(took), 1, f"{kind.name}: calls, of which the first has closed the watch")


def _begin(sandbox: Sandbox, kind: _Kind, callback: Callable[..., None]) -> Closable:
    """Begin the watch, and wait for its first report, if it makes one."""
    reported = threading.Event()

    def hear(*report: Any) -> None:
        reported.set()
        callback(*report)

    watch = kind.begin(hear)
    sandbox.at_end(watch.close)
    if kind.name == "watch_claim":
        time.sleep(_MOMENT)  # it may call back at first, and need not
    else:
        assert reported.wait(recorders.DEFAULT_WAIT), (
            f"{kind.name}: the present state was not reported"
        )
    return watch


def _started(what: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread
