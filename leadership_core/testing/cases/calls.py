"""The calls that a store takes, for cases that make all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from ...budget import budget
from ...clock import now
from ..contender import Contender
from ..heard import Heard
from ..lab import Lab

__all__ = ["SLACK", "Calls", "Ended", "calls_on", "make_at_once"]

SLACK = 1.0
"""Seconds that a call may take beyond its budget, for a machine that is busy."""

Calls = Mapping[str, Callable[[], object]]
"""Calls by their names."""


def calls_on(lab: Lab, key: str, contender: Contender) -> dict[str, Callable[[], object]]:
    """All calls on the connection of a contender that has entered its election.

    Args:
        lab: closes at its end what the calls open.
        key: the entry that is read and written.
        contender: its session and its claim are used, and the claim is withdrawn last.
    """
    store, session = contender.store, contender.session
    election, claim = contender.election, contender.claim
    return {
        "get": lambda: store.get(key),
        "put": lambda: store.put(key, b"1"),
        "list": lambda: store.list(key),
        "delete": lambda: store.delete(key),
        "watch": lambda: lab.at_end(store.watch(key, Heard()).close),
        "open_session": lambda: lab.at_end(store.open_session(lab.ttl).close),
        "renew": session.renew,
        "leader": election.leader,
        "standing": lambda: election.standing(claim),
        "on_turn": lambda: lab.at_end(election.on_turn(claim, lambda: None).close),
        "watch_leader": lambda: lab.at_end(election.watch_leader(Heard()).close),
        "withdraw": lambda: election.withdraw(claim),
    }


class Ended:
    """What came of a call.

    Attributes:
        error: what it raised, or None.
        seconds: how long it took.
    """

    def __init__(self, error: BaseException | None, seconds: float) -> None:
        self.error, self.seconds = error, seconds


def make_at_once(calls: Calls, seconds: float) -> dict[str, Ended]:
    """Make calls at the same time, each in a thread of its own and with a budget.

    Args:
        calls: which.
        seconds: the budget of each.

    Raises:
        AssertionError: one of them took more time than its budget.
    """
    ended: dict[str, Ended] = {}

    def make(name: str, call: Callable[[], object]) -> None:
        begun, error = now(), None
        try:
            with budget(seconds):
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
        f"with a budget of {seconds:g} s these calls did not end within {seconds + SLACK:g} s: "
        + ", ".join(late)
    )
    return ended
