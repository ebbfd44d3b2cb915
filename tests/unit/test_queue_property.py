"""State machines in one queue: whatever happens, the turn is neither lost nor held by too many."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from hypothesis import given, settings, strategies

from leadership_core.backend.protocols import Absent, Claim, ClaimOutcomeUnknown, Leading, Waiting
from leadership_core.engine import messages
from leadership_core.engine.holdings import Turn
from leadership_core.engine.key_queue import KeyQueues
from leadership_core.engine.lease import Lease
from leadership_core.engine.messages import Phase
from leadership_core.engine.state_machine import CandidateStateMachine
from leadership_core.errors import ConfigurationError, NotApplied, StoreUnavailable
from leadership_core.events import LostReason

_TTL = 9.0
_MAY_HAVE_CLAIM = {
    *(Phase.ENTERING, Phase.WAITING, Phase.LEADING, Phase.DRAINING, Phase.WITHDRAWING),
}


class _Session:
    id = "s"
    ttl = _TTL

    def renew(self) -> float:
        return _TTL

    def close(self) -> None:
        pass


class _Candidate:
    """A state machine and what its driver would do; the store's answers are events of the test."""

    key = "key"

    def __init__(self, world: _World, number: int) -> None:
        self.world = world
        self.gated = number % 3 == 1
        self.machine = CandidateStateMachine(
            _TTL, random.Random(number), once=number % 4 == 3, gated=self.gated
        )
        self.asked: dict[str, messages.Command] = {}  # without an answer, by kind
        self.lease: Lease | None = None
        self.place: int | None = None
        self._inbox: list[messages.Input] = []
        self._stepping = False

    @property
    def claim_confirmed(self) -> bool:
        return self.machine.claim_confirmed

    @property
    def awaits_answer(self) -> bool:
        return self.machine.awaits_answer

    @property
    def may_be_followed(self) -> bool:
        return self.machine.phase is Phase.LEADING

    @property
    def session(self) -> object:
        return self.lease

    def session_beside(self, other: object) -> object:
        return self.lease if self.world.has_session else None

    def handle(self, message: messages.Input) -> None:
        self._inbox.append(message)
        if self._stepping:
            return
        self._stepping = True
        while self._inbox:
            message = self._inbox.pop(0)
            if isinstance(message, messages.TurnGranted) and not self.world.queues.has_turn(self):
                continue
            for command in self.machine.step(self.world.now, message):
                self._perform(command)
            if self.machine.phase is Phase.LEADING:
                self.world.queues.offer_second(self.key)
            if self.claim_confirmed:
                self.world.queues.notify_waiting(self)
        self._stepping = False

    def _perform(self, command: messages.Command) -> None:
        match command:
            case messages.JoinQueue(returning):
                self.place = self.world.queues.join(self, self.place if returning else None)
            case messages.LeaveQueue():
                assert self.place is not None
                self.world.queues.leave(self, self.place)
            case messages.ReleaseSession():
                self.lease = None
            case messages.Enter(ticket):
                self.world.check_claims(self)
                self.asked[f"enter {ticket}"] = command
            case messages.CheckReadiness() | messages.AcquireSession():
                self.asked[type(command).__name__] = command
            case messages.QueryStatus():
                self.asked["status"] = command
            case messages.Withdraw():
                self.asked["withdraw"] = command
            case messages.EndTerm():
                self.asked["work"] = command
            case _:
                pass

    def answers(self) -> Iterator[messages.Input]:
        """What may happen to it next."""
        yield from (messages.Start(), messages.Stop(for_good=False), messages.StatusChanged())
        yield messages.RenewalFailed(StoreUnavailable("no answer"))
        yield messages.Renewed()
        if self.machine.token is not None:
            yield messages.Resign(self.machine.token, 0.0)
            yield messages.WatchdogExpired(self.machine.token)
        if self.gated:
            yield messages.ReadinessReported(ready=True)
            yield messages.ReadinessReported(ready=False)
        if "AcquireSession" in self.asked:
            lease = Lease(_TTL, now=lambda: self.world.now)
            lease.acknowledge(self.world.now, _TTL)
            yield messages.SessionReady(lease)
        if self.lease is not None:
            yield messages.LeaseEnded(self.lease, LostReason.SESSION_LOST)
        yield from self._answers_of_the_store()
        if "work" in self.asked:
            yield messages.WorkFinished()
        yield from (messages.Abandon(), messages.Stop())

    def _answers_of_the_store(self) -> Iterator[messages.Input]:
        world = self.world
        for command in list(self.asked.values()):
            match command:
                case messages.Enter(ticket):
                    claim = Claim("key", _Session(), b"")
                    yield messages.Entered(ticket, claim)
                    granted = Claim("key", _Session(), b"", token=world.token, granted=True)
                    yield messages.Entered(ticket, granted)
                    yield messages.Failed(ticket, NotApplied("nothing was sent"))
                    yield messages.Failed(ticket, ClaimOutcomeUnknown("no answer", claim))
                    yield messages.SessionUnusable(ticket)
                    yield messages.Failed(ticket, ConfigurationError("refused"))
                case messages.QueryStatus(ticket):
                    for status in (Waiting(), Leading(world.token), Absent()):
                        yield messages.StatusReceived(ticket, status)
                    yield messages.Failed(ticket, StoreUnavailable("no answer"))
                case messages.Withdraw(ticket):
                    yield messages.Withdrawn(ticket)
                    yield messages.Failed(ticket, StoreUnavailable("no answer"))
                case _:
                    pass

    def take(self, message: messages.Input) -> None:
        """Let that happen."""
        match message:
            case messages.SessionReady(lease):
                self.lease = lease
                del self.asked["AcquireSession"]
            case messages.LeaseEnded(lease, reason):
                lease.end(reason)
            case messages.WorkFinished():
                del self.asked["work"]
            case (
                messages.Entered()
                | messages.StatusReceived()
                | messages.Withdrawn()
                | messages.Failed()
                | messages.SessionUnusable()
            ):
                for kind, command in list(self.asked.items()):
                    if getattr(command, "ticket", None) == message.ticket:
                        del self.asked[kind]
            case _:
                pass
        self.handle(message)


class _World:
    def __init__(self, number: int, places: int) -> None:
        self.now = 100.0
        self.token = 1
        self.places = places
        self.has_session = True  # for a claim in the second place
        self.offers: list[Callable[[], None]] = []
        self.queues = KeyQueues(self._call_later if places > 1 else None)
        self.candidates = [_Candidate(self, n) for n in range(number)]

    def happen(self, who: int, what: int) -> None:
        self.token += 1
        candidate = self.candidates[who % len(self.candidates)]
        answers = list(candidate.answers())
        self.has_session = what % 7 > 1
        if what % 3 > 0:
            self.make_offers()
        if what % 10 == 9:
            self.now += 2.5
            for one in self.candidates:
                if one.lease is not None and what % 20 == 9:
                    one.lease.acknowledge(self.now, _TTL)
                one.handle(messages.TimerFired())
        else:
            candidate.take(answers[what % len(answers)])
        self.check()

    def _call_later(self, _: float, offer: Callable[[], None]) -> None:
        self.offers.append(offer)

    def make_offers(self) -> None:
        """Let the second place be given away where it was offered."""
        offers = self.offers[:]
        self.offers.clear()
        for offer in offers:
            offer()

    def check(self) -> None:
        """One or more have the turn if any wants it, and none that makes no use of it."""
        turns = [one for one in self.candidates if one.machine.turn is Turn.HELD]
        assert len(turns) <= self.places
        for one in self.candidates:
            has = self.queues.has_turn(one)
            assert has == (one.machine.turn is Turn.HELD), one.machine.phase
            assert not has or one.machine.phase in _MAY_HAVE_CLAIM, one.machine.phase
            queued = one.machine.phase is Phase.QUEUED
            assert queued == (one.machine.turn is Turn.AWAITED), one.machine.phase
            assert turns or not queued, "the turn is lost"

    def check_claims(self, enters: _Candidate) -> None:
        """No other candidate, or one alone, has a claim that is not left to its session."""
        others = [
            one.machine.phase
            for one in self.candidates
            if one is not enters
            and one.machine._held.claim is not None
            and (
                one.machine.phase is not Phase.DRAINING
                or one.machine._held.lease is None
                or one.machine._held.lease.ended_reason is None
            )
        ]
        assert len(others) < self.places, others

    def recover(self) -> None:
        """The store works, and the programs are ready: each that wants the key leads once."""
        led, want = set[_Candidate](), set[_Candidate]()
        for one in self.candidates:
            one.asked.pop("CheckReadiness", None)
        idle = {Phase.IDLE, Phase.STOPPED}
        for _ in range(200):
            want = {one for one in self.candidates if one.machine.phase not in idle}
            if want <= led:
                return
            self.token += 1
            self.now += 0.5
            self.make_offers()
            for one in self.candidates:
                if one.lease is not None:
                    one.lease.acknowledge(self.now, _TTL)
                one.handle(messages.TimerFired())
                if one.gated:
                    one.take(messages.ReadinessReported(ready=True))
                for message in list(one.answers()):
                    if isinstance(
                        message, messages.SessionReady | messages.WorkFinished | messages.Withdrawn
                    ) or (isinstance(message, messages.Entered) and message.claim.granted):
                        one.take(message)
                if one.lease is not None and one.lease.ended_reason is not None:
                    one.take(messages.LeaseEnded(one.lease, LostReason.EXPIRED))
                if one.machine.phase is Phase.WAITING and "status" in one.asked:
                    ticket = one.asked["status"].ticket  # type: ignore[union-attr]  # only `QueryStatus` is kept there
                    one.take(messages.StatusReceived(ticket, Leading(self.token)))
                if one.machine.phase is Phase.WAITING:
                    one.take(messages.StatusChanged())
                if one.machine.phase is Phase.LEADING and one.machine.token is not None:
                    led.add(one)
                    one.take(messages.Resign(one.machine.token, 1.0))
                self.check()
        raise AssertionError([one.machine.phase for one in want - led])


_EVENTS = strategies.lists(
    strategies.tuples(strategies.integers(0, 5), strategies.integers(0, 39)), max_size=60
)


@settings(max_examples=100, deadline=None, report_multiple_bugs=False)
@given(strategies.integers(1, 6), strategies.integers(1, 2), _EVENTS)
def test_turn_is_held_by_as_many_candidates_as_there_are_places_and_never_lost(
    number: int, places: int, events: list[tuple[int, int]]
) -> None:
    """Whatever the store, the program and the user do, in whatever order."""
    world = _World(number, places)
    for one in world.candidates:
        one.take(messages.Start())
    for who, what in events:
        world.happen(who, what)
    world.recover()
