"""Simulated processes: the engine's own state machines, leases and back-offs on simulated time.

What the engine does in threads is repeated here as calls that are due: a session is opened, renewed and
closed as `SessionKeeper` does it, and requests have four places, as in `RequestExecutor`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from math import inf
from typing import cast

from leadership_core.backend.protocols import (
    Absent,
    Claim,
    ClaimOutcomeUnknown,
    ClaimStatus,
    Leading,
    Session,
    Waiting,
)
from leadership_core.engine import messages
from leadership_core.engine.backoff import Backoff, max_backoff
from leadership_core.engine.lease import Lease
from leadership_core.engine.state_machine import CandidateStateMachine
from leadership_core.engine.timing import request_limit
from leadership_core.errors import StoreUnavailable
from leadership_core.events import LostReason
from tests.system.load.simulated_store import (
    SimulatedStore,
    SimulatedTime,
    StoredClaim,
    StoredSession,
)

__all__ = ["SimulatedProcess"]

_PLACES = 4  # requests of a store at a time


class SimulatedProcess:
    """A process with one candidate in each of several elections.

    Args:
        time: whose clock to use.
        store: where the elections are.
        elections: their numbers.
        ttl: seconds.
        rng: of all jitter.
        renewal_requests: how many requests a renewal is.

    Attributes:
        sessions: how many it has opened so far.
    """

    def __init__(
        self,
        time: SimulatedTime,
        store: SimulatedStore,
        elections: list[int],
        ttl: float,
        rng: random.Random,
        *,
        renewal_requests: int = 1,
    ) -> None:
        self.time, self.store, self.ttl, self.rng = time, store, ttl, rng
        self.renewal_requests = renewal_requests
        self.sessions = 0
        self._open: list[_Session] = []
        self._jobs: deque[Callable[[Callable[[], None]], None]] = deque()
        self._busy = 0
        self.candidates = [_Candidate(self, election) for election in elections]

    def start(self) -> None:
        """Let all candidates campaign."""
        for candidate in self.candidates:
            candidate.handle(messages.Start())

    @property
    def leading(self) -> int:
        """How many of its candidates lead."""
        return sum(one.machine.phase is messages.Phase.LEADING for one in self.candidates)

    def acquire(self, user: _Candidate) -> _Session:
        found = next((one for one in self._open if one.takes(user.election)), None)
        if found is None:
            self.sessions += 1
            found = _Session(self)
            self._open.append(found)
        found.users[user.election] = user
        if found.ready:
            user.handle(messages.SessionReady(found.lease))
        return found

    def retire(self, session: _Session) -> None:
        if session in self._open:
            self._open.remove(session)

    def submit(self, job: Callable[[Callable[[], None]], None]) -> None:
        """Make a request when there is a place; the job gets a function to call at its end."""
        self._jobs.append(job)
        self._fill()

    def _fill(self) -> None:
        def over() -> None:
            self._busy -= 1
            self._fill()

        while self._jobs and self._busy < _PLACES:
            self._busy += 1
            self._jobs.popleft()(over)


class _Session:
    """A session, opened, renewed and closed as by a `SessionKeeper`."""

    def __init__(self, process: SimulatedProcess) -> None:
        self.process, self.time, self.store = process, process.time, process.store
        self.lease = Lease(process.ttl, rng=process.rng, now=process.time.clock)
        self.users: dict[int, _Candidate] = {}
        self.orphaned: set[int] = set()
        self.stored: StoredSession | None = None
        self.ready = self.ended = self._failing = self._closing = False
        self._backoff = Backoff(max_backoff(process.ttl), process.rng)
        self.time.call_at(self.time.now, self._open)

    def takes(self, election: int) -> bool:
        return not self.ended and election not in self.users and election not in self.orphaned

    def release(self, user: _Candidate) -> None:
        if self.users.get(user.election) is user:
            del self.users[user.election]
        if not self.users:
            self.process.retire(self)
            if not self._closing:
                self._closing = True
                self.time.call_at(self.time.now, self._close)

    def _open(self) -> None:
        def opened(answer: object) -> None:
            if isinstance(answer, Exception):
                self._failed()
                self.time.call_at(self.time.now + self._backoff.next(), self._open)
                return
            assert isinstance(answer, StoredSession)
            self.stored = answer
            self._renew()

        if not self._closing:
            limit = request_limit(self.process.ttl)
            self.store.request("open", limit, lambda: self.store.open(self.process.ttl), opened)

    def _renew(self) -> None:
        stored, sent = self.stored, self.time.now
        assert stored is not None
        if self._closing:
            return
        if self.lease.check() is not None:
            self._end(LostReason.EXPIRED)
            return

        def renewed(answer: object) -> None:
            if isinstance(answer, Exception):
                self.lease.schedule_retry()
                self._failed()
            elif not answer:
                self._end(LostReason.SESSION_LOST)
                return
            elif self.lease.acknowledge(sent, self.process.ttl):
                self._acknowledged()
            else:
                self._end(LostReason.EXPIRED)
                return
            self.time.call_at(self.lease.renew_at, self._renew)

        self.store.request(
            "renew",
            self.lease.request_limit(),
            lambda: self.store.renew(stored, self.process.ttl),
            renewed,
            weight=self.process.renewal_requests,
        )

    def _acknowledged(self) -> None:
        if not self.ready:
            self.ready = True
            self._guard()
            self._broadcast(messages.SessionReady(self.lease))
        if self._failing:
            self._failing = False
            self._broadcast(messages.Renewed())

    def _guard(self) -> None:
        if not self.ended:
            if self.lease.check() is None:
                self.time.call_at(self.lease.deadline, self._guard)
            else:
                self._end(LostReason.EXPIRED)

    def _failed(self) -> None:
        self._failing = True
        self._broadcast(messages.RenewalFailed(StoreUnavailable("no answer")))

    def _end(self, reason: LostReason) -> None:
        if self.ended:
            return
        self.ended = True
        self.lease.end(reason)
        self.process.retire(self)
        self._broadcast(messages.LeaseEnded(self.lease, self.lease.check() or reason))

    def _close(self) -> None:
        stored, backoff = self.stored, Backoff(min(5.0, self.process.ttl), self.process.rng)

        def ask() -> None:
            assert stored is not None
            limit = request_limit(self.process.ttl)
            self.store.request("close", limit, lambda: self.store.close(stored), closed)

        def closed(answer: object) -> None:
            if isinstance(answer, Exception):
                self.time.call_at(self.time.now + backoff.next(), ask)

        if stored is not None and not stored.ended:
            ask()

    def _broadcast(self, message: messages.Input) -> None:
        for user in list(self.users.values()):
            user.handle(message)


class _Candidate:
    """A state machine, with requests as of a `CandidateDriver`."""

    def __init__(self, process: SimulatedProcess, election: int) -> None:
        self.process, self.election = process, election
        self.machine = CandidateStateMachine(process.ttl, process.rng)
        self._session: _Session | None = None
        self._stored: dict[int, StoredClaim] = {}  # by the identity of the claim
        self._inputs: deque[messages.Input] = deque()
        self._stepping = False
        self._timer_at = inf

    def handle(self, message: messages.Input) -> None:
        self._inputs.append(message)
        if self._stepping:
            return
        self._stepping = True
        while self._inputs:
            for command in self.machine.step(self.process.time.now, self._inputs.popleft()):
                self._perform(command)
        self._stepping = False
        due = self.machine.due
        if due not in {self._timer_at, inf}:
            self.process.time.call_at(due, lambda: self._fired(due))
        self._timer_at = due

    def _fired(self, due: float) -> None:
        if due == self._timer_at:
            self._timer_at = inf
            self.handle(messages.TimerFired())

    def _perform(self, command: messages.Command) -> None:
        match command:
            case messages.AcquireSession():
                self._session = self.process.acquire(self)
            case messages.ReleaseSession():
                session, self._session = self._session, None
                if session is not None:
                    session.release(self)
            case messages.JoinQueue():  # of one key in this process, which has no other candidate
                self._inputs.append(messages.TurnGranted())
            case messages.Enter(ticket):
                self._enter(ticket)
            case messages.QueryStatus(ticket, claim):
                self._query(ticket, claim)
            case messages.EndTerm():
                self._inputs.append(messages.WorkFinished())
            case messages.ReapClaim(claim, _):
                self._reap(claim)
            case messages.Withdraw(ticket, claim):
                self._withdraw(ticket, claim)
            case _:
                pass

    def _request(
        self,
        kind: str,
        session: _Session,
        apply: Callable[[], object],
        done: Callable[[object], None],
    ) -> None:
        def job(over: Callable[[], None]) -> None:
            def answered(answer: object) -> None:
                over()
                done(answer)

            store = self.process.store
            store.request(kind, session.lease.request_limit(), apply, answered)

        self.process.submit(job)

    def _enter(self, ticket: int) -> None:
        session = self._session
        assert session is not None
        stored = session.stored
        if stored is None or session.ended or self.election in session.orphaned:
            self._inputs.append(messages.SessionUnusable(ticket))
            return
        claim = Claim(str(self.election), cast("Session", stored), b"")

        def apply() -> object:
            made = self.process.store.enter(self.election, stored)
            if made is not None:
                made.wake = lambda: self.handle(messages.StatusChanged())
                self._stored[id(claim)] = made
            return made

        def done(answer: object) -> None:
            if isinstance(answer, ConnectionRefusedError):
                self.handle(messages.Failed(ticket, StoreUnavailable("refused")))
            elif isinstance(answer, Exception):
                self.handle(messages.Failed(ticket, ClaimOutcomeUnknown("no answer", claim)))
            elif answer is None:
                session._end(LostReason.SESSION_LOST)
            else:
                self.handle(messages.Entered(ticket, claim))

        self._request("enter", session, apply, done)

    def _query(self, ticket: int, claim: Claim) -> None:
        session = self._session
        assert session is not None
        stored = self._stored[id(claim)]

        def apply() -> ClaimStatus:
            first = self.process.store.first(stored)
            if first is None:
                return Absent()
            return Leading(stored.token) if first else Waiting()

        def done(answer: object) -> None:
            if isinstance(answer, Exception):
                self.handle(messages.Failed(ticket, StoreUnavailable("no answer")))
            else:
                self.handle(messages.StatusReceived(ticket, cast("ClaimStatus", answer)))

        self._request("status", session, apply, done)

    def _withdraw(self, ticket: int, claim: Claim) -> None:
        session, stored = self._session, self._stored.pop(id(claim))
        assert session is not None

        def done(answer: object) -> None:
            if isinstance(answer, Exception):
                self.handle(messages.Failed(ticket, StoreUnavailable("no answer")))
            else:
                self.handle(messages.Withdrawn(ticket))

        self._request("withdraw", session, lambda: self.process.store.withdraw(stored), done)

    def _reap(self, claim: Claim) -> None:
        """Withdraw an orphaned claim, as long as its session may live."""
        session = self._session
        if session is None or session.ended:
            self._stored.pop(id(claim), None)
            return
        session.orphaned.add(self.election)
        backoff = Backoff(max_backoff(self.process.ttl), self.process.rng)

        def ask() -> None:
            if not session.ended:
                self._request("withdraw", session, apply, done)

        def apply() -> None:
            if stored := self._stored.pop(id(claim), None):
                self.process.store.withdraw(stored)

        def done(answer: object) -> None:
            if isinstance(answer, Exception):
                self.process.time.call_at(self.process.time.now + backoff.next(), ask)
            else:
                session.orphaned.discard(self.election)

        ask()
