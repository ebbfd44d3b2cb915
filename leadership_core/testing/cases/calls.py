"""Calls of a store by name, and calls made at the same time with a timeout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from ...backend.clock import now
from ...backend.deadline import call_timeout
from ..manual_candidate import ManualCandidate
from ..recorders import WatchRecorder
from ..sandbox import Sandbox

__all__ = ["SLACK", "Calls", "Ended", "calls_on", "make_at_once"]

SLACK = 1.0
"""Seconds by which a call may exceed its timeout on a busy machine."""

Calls = Mapping[str, Callable[[], object]]
"""Calls by their names."""


def calls_on(
    sandbox: Sandbox, key: str, manual: ManualCandidate
) -> dict[str, Callable[[], object]]:
    """Return all calls on the connection of a candidate that has entered its election.

    Args:
        sandbox: closes at its end what the calls open.
        key: the entry that is read and written.
        manual: its session and its claim are used, and the claim is withdrawn last.
    """
    store, session = manual.store, manual.session
    election, claim = manual.election, manual.claim
    return {
        "get": lambda: store.get(key),
        "put": lambda: store.put(key, b"1"),
        "list": lambda: store.list(key),
        "delete": lambda: store.delete(key),
        "watch": lambda: sandbox.at_end(store.watch(key, WatchRecorder()).close),
        "open_session": lambda: sandbox.at_end(store.open_session(sandbox.ttl).close),
        "renew": session.renew,
        "leader": election.leader,
        "status": lambda: election.status(claim),
        "watch_claim": lambda: sandbox.at_end(election.watch_claim(claim, lambda: None).close),
        "watch_leader": lambda: sandbox.at_end(election.watch_leader(WatchRecorder()).close),
        "withdraw": lambda: election.withdraw(claim),
    }


class Ended:
    """The outcome of a call.

    Attributes:
        error: what it raised, or None.
        seconds: how long it took.
    """

    def __init__(self, error: BaseException | None, seconds: float) -> None:
        self.error: BaseException | None = error
        self.seconds: float = seconds


def make_at_once(calls: Calls, seconds: float) -> dict[str, Ended]:
    """Make calls at the same time, each in a thread of its own and with a timeout.

    Args:
        calls: the calls.
        seconds: the timeout of each call.

    Raises:
        AssertionError: one of them exceeded its timeout.
    """
    ended: dict[str, Ended] = {}

    def make(name: str, call: Callable[[], object]) -> None:
        begun, error = now(), None
        try:
            with call_timeout(seconds):
                call()
        except BaseException as problem:  # noqa: BLE001 - looked at by the case
            error = problem
        ended[name] = Ended(error, now() - begun)

    threads = [
        threading.Thread(target=make, args=item, name=f"contract-{item[0]}", daemon=True)
        for item in calls.items()
    ]
    for thread in threads:
        thread.start()
    until = now() + seconds + SLACK
    for thread in threads:
        thread.join(max(0.0, until - now()))
    late = [name for name in calls if name not in ended]
    assert not late, (
        f"with a timeout of {seconds:g} s these calls did not end within {seconds + SLACK:g} s: "
        + ", ".join(late)
    )
    return ended
