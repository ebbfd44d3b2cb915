"""Candidates and followers of a server that has gone mad: no hot loop, no end, no belief too much.

All of them run at the same time, each with a server of its own, for longer than the ten seconds
that their requests are counted over; then the servers come to their senses.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from leadership_core import Candidate, Follower, open_store
from leadership_core.errors import LeadershipError
from leadership_core.events import Event
from tests.fuzz.evil import EvilServer
from tests.fuzz.minds import FATAL, HASTY, MINDS, honest
from tests.fuzz.oracles import SECRET, in_order, tolerated
from tests.support.machine import at_most

pytestmark = pytest.mark.slow

WINDOW = 10.0  # seconds
MOST = 5 * WINDOW + 5  # requests of one member; five may be of its start
SHORT = 2.0  # seconds: a ttl that takes two renewals a second by itself
RENEWALS = 2 * WINDOW
SPAN = 9.4 + float(os.environ.get("LEADERSHIP_FUZZ", "1"))  # seconds of madness
RECOVERY = 15.0  # seconds


@dataclass
class Outcome:
    """What came of one member of one server."""

    events: list[Event] = field(default_factory=list)
    error: Exception | None = None
    requests: int = 0
    most: int = 0
    recovered: bool = False
    close_seconds: float = 0.0
    ended: bool = False

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


def _observe(name: str, kind: str) -> Outcome:
    outcome = Outcome()
    with EvilServer(MINDS[name]()) as server:
        store = open_store(f"consul://:{SECRET}@127.0.0.1:{server.port}")
        ttl = SHORT if kind == "hasty" else 15.0
        candidate = Candidate(store, "fuzz/key", "me", ttl=ttl) if kind != "follower" else None
        follower = None if candidate else Follower(store, "fuzz/key")
        listener = threading.Thread(target=_listen, args=(candidate or follower, outcome))
        listener.start()
        time.sleep(SPAN)
        outcome.most, outcome.requests = server.most_within(WINDOW), len(server.requests)
        server.mind = honest(None if candidate else "other")
        until = time.monotonic() + RECOVERY
        while time.monotonic() < until and outcome.error is None and not outcome.recovered:
            time.sleep(0.02)
            if candidate is not None:
                outcome.recovered = candidate.is_leader
            elif follower is not None and follower.leader is not None:
                outcome.recovered = follower.leader.value == "other"
        begun = time.monotonic()
        store.close(2.0)
        outcome.close_seconds = time.monotonic() - begun
        listener.join(2.0)
        outcome.ended = not listener.is_alive()
    return outcome


def _listen(member: Any, outcome: Outcome) -> None:
    try:
        for event in member.events():
            outcome.events.append(event)
    except Exception as error:  # noqa: BLE001 - looked at by the tests
        outcome.error = error


CASES = [(name, kind) for name in MINDS for kind in ("candidate", "follower")]
CASES += [(name, "hasty") for name in HASTY]


@pytest.fixture(scope="module")
def outcomes() -> Mapping[tuple[str, str], Outcome]:
    with ThreadPoolExecutor(len(CASES)) as pool:
        return dict(zip(CASES, pool.map(lambda case: _observe(*case), CASES), strict=True))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_mad_server_is_survived(
    name: str, kind: str, outcomes: Mapping[tuple[str, str], Outcome]
) -> None:
    """Five requests a second at most, a story in order, and afterwards all is well again.

    It holds for servers that nobody can tell from a good one, too: over ten seconds, because a
    reserve goes to whatever looks like another leader. What a user does is not counted, and
    nobody resigns here.
    """
    outcome = outcomes[name, kind]

    assert outcome.most <= MOST + (RENEWALS if kind == "hasty" else 0), outcome
    assert outcome.requests > 0
    assert outcome.ended
    assert outcome.close_seconds < at_most(2.5)
    if kind != "follower":
        in_order(outcome.names)
    if name in FATAL:
        assert isinstance(outcome.error, LeadershipError) or outcome.recovered
    else:
        assert outcome.error is None, outcome
        assert outcome.recovered, outcome
    for error in [outcome.error, *(getattr(event, "error", None) for event in outcome.events)]:
        if error is not None:
            tolerated(error)
