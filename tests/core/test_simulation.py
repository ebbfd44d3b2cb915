"""Campaigns and leases, as they are, against a modelled store, network and clock.

Requests and answers are lost, late and doubled; processes pause; sessions expire; users resign
and stop at any time. Nothing here waits: a minute of an election takes some milliseconds.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import pytest

from leadership_core.errors import ClaimUnknown, SessionLost, StoreError, StoreUnavailable
from leadership_core.events import (
    Campaigning,
    Event,
    Lost,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)
from leadership_core.lease import Lease, LostReason
from leadership_core.machine import Campaign, Phase, actions as do, happenings as on
from leadership_core.store import Absent, Claim, Leading, Standing, Waiting
from leadership_core.timing import request_limit

TTL = 6.0
RUNS = 300
TROUBLE = 90.0  # virtual seconds of faults, in each run
CALM = 60.0  # and without, at the end of which somebody must lead


class World:
    """Virtual time: what is due, in order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.calm = False
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, task: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(when, self.now), next(self._order), task))

    def after(self, seconds: float, task: Callable[[], None]) -> None:
        self.at(self.now + seconds, task)

    def run(self, until: float, after_each: Callable[[], None]) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, task = heapq.heappop(self._due)
            task()
            after_each()
        self.now = until


@dataclass(eq=False)
class ModelSession:
    """A session; also the protocol's `Session` as far as claims look at it."""

    id: str
    expires: float
    ttl: float = TTL

    def renew(self) -> float:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class ModelStore:
    """One key, linearizable; ends sessions at their ttl and not before."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions: dict[str, ModelSession] = {}
        self.holder: ModelSession | None = None
        self.token = 0
        self.down = False
        self.ended_by_hand: set[int] = set()  # tokens; only they may overlap with the next
        self.watchers: dict[Claim, Callable[[], None]] = {}
        self._numbers = itertools.count()

    def open(self) -> ModelSession:
        session = ModelSession(f"s{next(self._numbers)}", self.world.now + TTL)
        self.sessions[session.id] = session
        self._check_later(session)
        return session

    def _check_later(self, session: ModelSession) -> None:
        self.world.at(session.expires, lambda: self._expire(session))

    def _expire(self, session: ModelSession) -> None:
        if session.id in self.sessions and session.expires <= self.world.now:
            self.end(session)

    def end(self, session: ModelSession) -> None:
        self.sessions.pop(session.id, None)
        if self.holder is session:
            self.free()

    def free(self) -> None:
        self.holder = None
        self.token += 1
        self.wake()

    def wake(self) -> None:
        for wake in list(self.watchers.values()):
            self.world.after(self.world.rng.uniform(0, 0.05), wake)

    def alive(self, session: ModelSession) -> None:
        if session.id not in self.sessions:
            raise SessionLost(session.id)

    def renew(self, session: ModelSession) -> float:
        self.alive(session)
        session.expires = self.world.now + TTL
        self._check_later(session)
        return TTL

    def enter(self, claim: Claim, session: ModelSession) -> None:
        self.alive(session)
        if self.holder is None:
            self.token += 1
            self.holder = session
            claim.token = self.token
            claim.granted = self.world.rng.random() < 0.5
            self.wake()
        elif self.holder is session:
            raise AssertionError("one session has entered the key twice")

    def standing(self, claim: Claim, session: ModelSession) -> Standing:
        if self.holder is None:
            return Absent()
        if self.holder is session and claim.token == self.token:
            return Leading(self.token)
        return Waiting()

    def withdraw(self, session: ModelSession, token: int | None) -> None:
        self.alive(session)
        if self.holder is session and token == self.token:
            self.free()


@dataclass
class Told:
    """What one candidate's user was told."""

    events: list[Event | str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


class Node:
    """One process: a campaign, its lease, and the way to the store that may lose anything."""

    def __init__(self, world: World, store: ModelStore, name: str) -> None:
        self.world, self.store, self.name = world, store, name
        self.campaign = Campaign(TTL, world.rng)
        self.told = Told()
        self.paused_until = 0.0
        self.cut = False
        self.stopped = False
        self.believes_in: Lease | None = None
        self.session: ModelSession | None = None
        self.lease: Lease | None = None
        self.loose: set[ModelSession] = set()
        self.stepped_at = -inf
        self.rate: Counter[int] = Counter()
        self._due = inf

    # -- what the checks look at -----------------------------------------------------------

    def believes(self) -> bool:
        """As `is_leader`: computed, at this instant, also while the process is paused."""
        lease = self.believes_in
        return lease is not None and lease.over is None and self.world.now < lease.deadline

    # -- the process ------------------------------------------------------------------------

    def soon(self, task: Callable[[], None], when: float | None = None) -> None:
        """Run it in this process: not while that is paused."""

        def awake() -> None:
            if self.world.now < self.paused_until:
                self.world.at(self.paused_until, awake)
            else:
                task()

        self.world.at(self.world.now if when is None else when, awake)

    def happened(self, happening: on.Happening) -> None:
        for action in self.campaign.step(self.world.now, happening):
            self.do(action)
        due = self.campaign.due
        if due not in {inf, self._due}:
            self.soon(lambda: self.tick(due), due)
        self._due = due

    def tick(self, due: float) -> None:
        if self._due == due:
            self._due = inf
            self.happened(on.Tick())

    def do(self, action: do.Action) -> None:
        match action:
            case do.Join():
                self.join()
            case do.Part():
                self.part()
            case do.Enter(ticket):
                self.enter(ticket)
            case do.Ask(ticket, claim):
                self.ask(ticket, claim)
            case do.Unwatch():
                for claim in [one for one in self.store.watchers if one.value == self.tag]:
                    del self.store.watchers[claim]
            case do.Believe(token):
                assert self.lease is not None
                assert self.lease.over is None
                assert self.world.now < self.lease.deadline
                self.believes_in = self.lease
                self.told.tokens.append(token)
                self.told.events.append("elected")
            case do.Disbelieve(event):
                self.believes_in = None
                self.told.events.append(event)
                self.soon(lambda: self.happened(on.Drained()), self.world.now + self.work())
            case do.Withdraw(ticket, claim):
                self.withdraw(ticket, claim)
            case do.Discard(claim):
                self.discard(claim)
            case do.Tell(event):
                self.told.events.append(event)
            case do.Raise(error):
                raise error
            case do.Released():
                pass

    @property
    def tag(self) -> bytes:
        return self.name.encode()

    def work(self) -> float:
        return self.world.rng.choice([0.0, 0.0, 0.5, 2.0, 10.0])

    # -- requests ---------------------------------------------------------------------------

    def request(
        self,
        limit: float,
        perform: Callable[[], Callable[[], None]],
        failed: Callable[[StoreError], None],
    ) -> None:
        """Send a request; `perform` runs at the store and gives what to do with the answer."""
        rng, open_ = self.world.rng, [True]
        self.rate[int(self.world.now)] += 1

        def answer(task: Callable[[], None]) -> None:
            if open_[0]:
                open_[0] = False
                task()

        def arrive() -> None:
            if self.store.down:
                return
            try:
                reply = perform()
            except StoreError as error:
                reply = lambda error=error: failed(error)  # type: ignore[misc]  # noqa: E731
            if not (self.lossy() or self.cut):
                self.world.after(self.delay(), lambda: self.soon(lambda: answer(reply)))

        if not self.lossy():  # a request gets through a cut: only answers are lost then
            self.world.after(self.delay(), arrive)
            if not self.world.calm and rng.random() < 0.02:
                self.world.after(self.delay() + rng.uniform(0, 3 * TTL), arrive)
        self.soon(
            lambda: answer(lambda: failed(StoreUnavailable("no answer"))),
            self.world.now + max(limit, 0.001),
        )

    def lossy(self) -> bool:
        return not self.world.calm and self.world.rng.random() < 0.04

    def delay(self) -> float:
        rng = self.world.rng
        if self.world.calm or rng.random() < 0.9:
            return rng.uniform(0.0005, 0.005)
        return rng.uniform(0, 2 * TTL)

    def join(self) -> None:
        lease = Lease(TTL, rng=self.world.rng, now=lambda: self.world.now)
        mine: list[ModelSession] = []

        def opened() -> Callable[[], None]:
            session = self.store.open()
            return lambda: got(session)

        def got(session: ModelSession) -> None:
            if self.lease is lease:
                mine.append(session)
                self.session = session
                self.renew(lease, session)

        def failed(error: StoreError) -> None:
            if self.lease is lease:
                self.happened(on.RenewalFailed(StoreUnavailable(str(error))))
                self.soon(
                    lambda: self.request(TTL / 3, opened, failed) if self.lease is lease else None,
                    self.world.now + self.world.rng.uniform(0.1, 2.0),
                )

        self.lease = lease
        self.request(request_limit(TTL), opened, failed)

    def renew(self, lease: Lease, session: ModelSession) -> None:
        if self.lease is not lease:
            return
        if lease.over is not None or (lease.acknowledged and not lease.holds()):
            self.over(lease)
            return
        sent, first = self.world.now, not lease.acknowledged

        def acknowledged() -> Callable[[], None]:
            ttl = self.store.renew(session)
            return lambda: got(ttl)

        def got(ttl: float) -> None:
            if self.lease is not lease:
                return
            if not lease.acknowledge(sent, ttl):
                self.over(lease)
                return
            if first:
                self.happened(on.Joined(lease))
                self.guard(lease)
            self.happened(on.Renewed())
            self.soon(lambda: self.renew(lease, session), lease.renew_at)

        def failed(error: StoreError) -> None:
            if self.lease is not lease:
                return
            if isinstance(error, SessionLost):
                lease.end(LostReason.SESSION_LOST)
                self.over(lease)
                return
            lease.fail()
            self.happened(on.RenewalFailed(StoreUnavailable(str(error))))
            self.soon(lambda: self.renew(lease, session), lease.renew_at)

        self.request(lease.request_limit(), acknowledged, failed)

    def guard(self, lease: Lease) -> None:
        if self.lease is lease:
            if lease.holds():
                self.soon(lambda: self.guard(lease), lease.deadline)
            else:
                self.over(lease)

    def over(self, lease: Lease) -> None:
        if self.lease is lease:
            self.happened(on.LeaseOver(lease))

    def part(self) -> None:
        session, self.session, self.lease = self.session, None, None
        if session is not None:
            self.close(session, self.world.now + TTL)

    def close(self, session: ModelSession, until: float) -> None:
        def closed() -> Callable[[], None]:
            self.store.end(session)
            return lambda: None

        def failed(_error: StoreError) -> None:
            if self.world.now < until:
                self.soon(lambda: self.close(session, until), self.world.now + 0.5)

        self.request(TTL / 3, closed, failed)

    def enter(self, ticket: int) -> None:
        session, lease = self.session, self.lease
        assert session is not None
        assert lease is not None
        assert session not in self.loose, "a claim there is loose"
        claim = Claim("key", session, self.tag)
        entered: list[bool] = []

        def perform() -> Callable[[], None]:
            if not entered:  # the same request once more: the store's guard refuses it
                entered.append(True)
                self.store.enter(claim, session)
            return lambda: self.happened(on.Entered(ticket, claim))

        def failed(error: StoreError) -> None:
            if isinstance(error, StoreUnavailable):
                claim.settled = False
                error = ClaimUnknown("no answer", claim)
            self.happened(on.Failed(ticket, error))

        self.request(lease.request_limit(), perform, failed)

    def ask(self, ticket: int, claim: Claim) -> None:
        lease = self.lease
        assert lease is not None
        self.store.watchers[claim] = lambda: self.soon(
            lambda: self.happened(on.Turned()) if claim in self.store.watchers else None
        )

        def perform() -> Callable[[], None]:
            assert isinstance(claim.session, ModelSession)
            standing = self.store.standing(claim, claim.session)
            return lambda: self.happened(on.Stood(ticket, standing))

        self.request(
            lease.request_limit(), perform, lambda error: self.happened(on.Failed(ticket, error))
        )

    def withdraw(self, ticket: int, claim: Claim) -> None:
        session, lease = claim.session, self.lease
        assert isinstance(session, ModelSession)
        assert lease is not None

        def perform() -> Callable[[], None]:
            self.store.withdraw(session, claim.token)
            return lambda: self.happened(on.Withdrawn(ticket))

        self.request(
            lease.request_limit(), perform, lambda error: self.happened(on.Failed(ticket, error))
        )

    def discard(self, claim: Claim) -> None:
        assert isinstance(claim.session, ModelSession)
        self.loose.add(claim.session)  # here a session has one claim: it goes when it is closed


class Checks:
    """What must hold at every instant, and what at the end."""

    def __init__(self, world: World, store: ModelStore, nodes: list[Node]) -> None:
        self.world, self.store, self.nodes = world, store, nodes
        self.tokens: list[int] = []
        self.seen: Counter[str] = Counter()
        self._believer: tuple[Node, int] | None = None

    def after_each(self) -> None:
        by_hand = self.store.ended_by_hand
        believers = [
            node for node in self.nodes if node.believes() and node.told.tokens[-1] not in by_hand
        ]
        assert len(believers) <= 1, f"{self.world.now}: {[one.name for one in believers]} believe"
        for node in believers:
            term = (node, len(node.told.tokens))
            if term != self._believer:
                self._believer = term
                token = node.told.tokens[-1]
                assert not self.tokens or token > self.tokens[-1], (token, self.tokens)
                self.tokens.append(token)

    def stories(self) -> None:
        for node in self.nodes:
            leading = down = suspended = stopped = False
            for event in node.told.events:
                assert not stopped, f"{event} after Stopped"
                match event:
                    case "elected":
                        assert not leading
                        leading = True
                    case Lost() | Resigned():
                        assert leading
                        leading = suspended = False
                    case Suspended():
                        assert leading
                        assert not suspended
                        suspended = True
                    case Resumed():
                        assert suspended
                        suspended = False
                    case StoreDown():
                        assert not down
                        down = True
                    case StoreUp():
                        assert down
                        down = False
                    case Stopped():
                        assert not leading
                        stopped = True
                    case Campaigning():
                        assert not leading
                self.seen[event if isinstance(event, str) else event.name] += 1
            assert stopped == node.stopped, node.name

    def rates(self) -> None:
        for node in self.nodes:
            worst = max(node.rate.values(), default=0)
            assert worst <= 60, f"{node.name} sent {worst} requests in a second"


def trouble(world: World, store: ModelStore, nodes: list[Node]) -> None:
    """Do something bad to somebody, again and again until it is to be calm."""
    rng = world.rng
    node = rng.choice(nodes)
    match rng.randrange(10):
        case 0 | 1:
            node.paused_until = world.now + rng.uniform(0, 3 * TTL)
        case 2:
            node.cut = True
            world.after(rng.uniform(0, 4 * TTL), lambda: setattr(node, "cut", False))
        case 3:
            store.down = True
            world.after(rng.uniform(0, 2 * TTL), lambda: setattr(store, "down", False))
        case 4 if store.sessions:
            session = rng.choice(list(store.sessions.values()))
            if session is store.holder:
                store.ended_by_hand.add(store.token)
            store.end(session)
        case 5 if store.holder is not None:
            store.ended_by_hand.add(store.token)
            store.free()
        case 6 | 7:
            token = node.campaign.token
            if token is not None:
                cooldown = rng.choice([0.0, 1.0])
                node.soon(lambda: node.happened(on.Resign(token, cooldown)))
        case 8 if rng.random() < 0.2 and sum(not one.stopped for one in nodes) > 1:
            node.stopped = True
            node.soon(lambda: node.happened(on.Stop()))
        case 9:
            back = rng.uniform(0, 2)

            def leave() -> None:
                node.happened(on.Stop(for_good=False))
                node.soon(lambda: node.happened(on.Start()), world.now + back)

            node.soon(leave)
        case _:
            for one in nodes:
                one.soon(lambda one=one: one.happened(on.Turned()))  # type: ignore[misc]
    if world.now < TROUBLE:
        world.after(rng.uniform(0.1, 6), lambda: trouble(world, store, nodes))


def run(seed: int) -> Checks:
    world = World(seed)
    store = ModelStore(world)
    nodes = [Node(world, store, f"n{number}") for number in range(world.rng.choice([2, 3, 5]))]
    checks = Checks(world, store, nodes)
    for node in nodes:
        node.soon(lambda node=node: node.happened(on.Start()), world.rng.uniform(0, 0.5))  # type: ignore[misc]
    world.after(world.rng.uniform(1, 5), lambda: trouble(world, store, nodes))
    world.run(TROUBLE, checks.after_each)

    world.calm, store.down = True, False
    for node in nodes:
        node.cut = False
        node.paused_until = min(node.paused_until, world.now)
    world.run(TROUBLE + CALM, checks.after_each)
    assert any(node.believes() for node in nodes), "nobody leads although all is well"

    for node in nodes:
        if not node.stopped:
            node.stopped = True
            node.soon(lambda node=node: node.happened(on.Stop()))  # type: ignore[misc]
    world.run(TROUBLE + CALM + 5 * TTL, checks.after_each)
    assert store.holder is None, "a claim is left that nobody wants"
    assert all(node.campaign.phase is Phase.STOPPED for node in nodes)
    checks.stories()
    checks.rates()
    return checks


@pytest.mark.parametrize(
    "batch", [0, *(pytest.param(one, marks=pytest.mark.slow) for one in range(1, 10))]
)
def test_elections_are_safe_and_live_whatever_happens(batch: int) -> None:
    """Never two believers; tokens grow; stories are in order; all is well in the end."""
    for seed in range(batch * RUNS // 10, (batch + 1) * RUNS // 10):
        try:
            run(seed)
        except Exception as error:
            raise AssertionError(f"with seed {seed}: {error}") from error


def test_simulation_meets_what_it_is_about() -> None:
    """It would prove nothing if nobody were elected, lost, suspended or resigned in it."""
    seen: Counter[str] = Counter()
    terms = 0
    for seed in range(1000, 1020):
        checks = run(seed)
        seen += checks.seen
        terms += len(checks.tokens)

    assert terms > 60
    for name in ("lost", "resigned", "suspended", "resumed", "store_down", "store_up", "stopped"):
        assert seen[name] > 5, (name, seen)
