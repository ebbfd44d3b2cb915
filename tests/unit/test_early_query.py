"""Early queries: reads of a waiting claim's status that its watch starts by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from leadership_core import Candidate, Closable, open_store
from leadership_core.backend import Claim, ClaimStatus, Leading, Waiting
from leadership_core.engine import messages
from leadership_core.engine.early_query import EarlyQuery
from leadership_core.engine.store_base import internals
from tests.support.internals import candidate_control
from tests.support.waiting import eventually

CLAIM: Any = object()
KEEPER: Any = object()


class Harness:
    """An early query whose reads and posted tasks are run by the test."""

    def __init__(self) -> None:
        self.submitted: list[Callable[[], None]] = []
        self.posted: list[Callable[[], None]] = []
        self.outcome: messages.StatusReceived | messages.Failed | None = messages.StatusReceived(
            0, Leading(7)
        )
        self.known: messages.StatusReceived | None = None
        self.asked = 0
        self.answers: list[object] = []
        self.query = EarlyQuery(
            lambda *_: self.outcome,
            self.submitted.append,
            self.posted.append,
            self._ask,
            lambda _: self.known,
        )

    def _ask(self) -> None:
        """Do as the state machine: ask for the status."""
        self.asked += 1
        self.answers.append(self.query.take(KEEPER, 3, CLAIM))

    def run(self) -> None:
        """Make the reads that were started, and run what they post."""
        while self.submitted or self.posted:
            (self.submitted or self.posted).pop(0)()


def test_report_starts_one_read_whose_answer_is_that_of_the_next_query() -> None:
    """The state machine asks only when the answer is there."""
    harness = Harness()
    harness.query.prepare(KEEPER, CLAIM)

    assert harness.query.start(CLAIM)
    assert not harness.query.start(CLAIM)
    assert harness.asked == 0
    harness.run()

    assert harness.answers == [messages.StatusReceived(3, Leading(7))]
    assert harness.query.take(KEEPER, 4, CLAIM) is None


def test_report_during_the_read_leads_to_another_query() -> None:
    """What it is about may have happened after the read."""
    harness = Harness()
    harness.query.prepare(KEEPER, CLAIM)
    harness.query.start(CLAIM)

    harness.query.changed()
    assert harness.asked == 0
    harness.run()

    assert harness.answers == [messages.StatusReceived(3, Leading(7)), None]


def test_report_that_tells_the_status_starts_no_read() -> None:
    """The state machine gets the answer in its own thread."""
    harness = Harness()
    harness.known = messages.StatusReceived(0, Leading(8))
    harness.query.prepare(KEEPER, CLAIM)

    assert harness.query.start(CLAIM)
    assert not harness.submitted
    harness.run()

    assert harness.answers == [messages.StatusReceived(3, Leading(8))]


def test_report_that_tells_the_status_is_followed_by_a_query_after_the_next_report() -> None:
    """The claim may be gone since."""
    harness = Harness()
    harness.known = messages.StatusReceived(0, Leading(8))
    harness.query.prepare(KEEPER, CLAIM)
    harness.query.start(CLAIM)

    assert not harness.query.start(CLAIM)
    harness.query.changed()
    harness.run()

    assert harness.answers == [messages.StatusReceived(3, Leading(8)), None]


def test_report_without_preparation_starts_no_read() -> None:
    """The state machine has a query under way, or its rate limiter makes it wait."""
    harness = Harness()
    harness.query.prepare(KEEPER, CLAIM)
    harness.query.prepare(None, None)

    assert not harness.query.start(CLAIM)
    harness.query.changed()

    assert harness.answers == [None]


def test_answer_is_dropped_where_the_state_machine_has_gone_on() -> None:
    """The state machine has sent a later query, or withdraws the claim."""
    harness = Harness()
    harness.query.prepare(KEEPER, CLAIM)
    harness.query.start(CLAIM)
    harness.query.prepare(None, None)
    harness.query.prepare(KEEPER, CLAIM)

    harness.run()

    assert harness.asked == 0
    assert harness.query.start(CLAIM)


def test_lost_session_is_reported_by_its_keeper_alone() -> None:
    """The read has no outcome then."""
    harness = Harness()
    harness.outcome = None
    harness.query.prepare(KEEPER, CLAIM)
    harness.query.start(CLAIM)

    harness.run()

    assert harness.asked == 0


def test_watch_starts_the_read_while_the_scheduler_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So an election needs one change of threads less."""
    with open_store("memory://") as store:
        engine = internals(store).engine
        election = engine.election("key")
        wakes, asked = list[Callable[[], None]](), list[str]()
        state: ClaimStatus = Waiting()
        claims: list[Claim] = []
        enter = election.enter

        def status(claim: Claim) -> ClaimStatus:
            asked.append(threading.current_thread().name)
            return state

        def entered(*arguments: Any) -> Claim:
            claim = enter(*arguments)
            claim.granted = False
            claims.append(claim)
            return claim

        class Watch:
            def close(self) -> None:
                pass

        def watch(_: Claim, wake: Callable[[], None]) -> Closable:
            wakes.append(wake)
            return Watch()

        for name, stub in (("status", status), ("enter", entered), ("watch_claim", watch)):
            monkeypatch.setattr(election, name, stub)
        candidate = Candidate(store, "key", "a", ttl=10)
        candidate.start()
        busy, free = threading.Event(), threading.Event()
        assert eventually(lambda: candidate_control(candidate).debug_state().answered)

        def block() -> None:
            busy.set()
            free.wait(5)

        engine.scheduler.post(block)
        assert busy.wait(5)
        token = claims[0].token
        assert token is not None
        state = Leading(token)
        wakes[0]()

        assert eventually(lambda: len(asked) == 2)
        assert not candidate.is_leader
        free.set()
        assert candidate.wait_elected(5) is not None
        assert asked[1].startswith("leadership-request")
