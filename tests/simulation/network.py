"""The network between the simulated processes and the modelled server."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeVar

from leadership_core.backend.deadline import remaining_timeout
from leadership_core.errors import LeadershipError, NotApplied, StoreClosed, StoreUnavailable

from .kernel import Task

if TYPE_CHECKING:
    from .kernel import Process, World

__all__ = ["Link", "Network", "Pipe", "Profile", "Reply"]

T = TypeVar("T")
Reply = Callable[[object], None]
"""Gives the answer of the server: a value, or an exception."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Constant faults of a network.

    Attributes:
        lost: share of messages, requests and answers, that are lost.
        late: share that are delayed by up to `lateness` seconds.
        copied: share of requests that arrive once more, up to `lateness` seconds later.
        lateness: seconds.
        until: number of the first message that meets no fault; for shrinking.
    """

    lost: float = 0.0
    late: float = 0.0
    copied: float = 0.0
    lateness: float = 0.0
    until: float = inf


class Network:
    """All links of one run.

    Args:
        world: of the run.
        profile: its constant faults.
        seed: of the fate of the messages.
    """

    def __init__(self, world: World, profile: Profile, seed: str) -> None:
        self.world, self.profile = world, profile
        self.rng = random.Random(seed)
        self.calm = False
        self.half_open = self.rng.random() < 0.3  # held answers that meet a cut are not sent again
        self.down = False  # the server does not answer
        self.refusing = False  # it refuses connections
        self.messages = 0
        self.faults: Counter[str] = Counter()

    def bad(self, chance: float) -> bool:
        """Whether a fault of that probability hits the next message."""
        self.messages += 1
        return (
            chance > 0
            and self.rng.random() < chance
            and not self.calm
            and self.messages < self.profile.until
        )

    def delay(self, link: Link) -> float:
        """Seconds for one way."""
        if link.slow and not self.calm:
            return self.rng.uniform(0, link.slow)
        if self.bad(self.profile.late):
            self.faults["late"] += 1
            return self.rng.uniform(0, self.profile.lateness)
        return self.rng.uniform(0.0003, 0.003)


class Link:
    """The link of one process to the server.

    Attributes:
        cut_requests: no new request arrives.
        cut_answers: no answer arrives.
        slow: seconds that each way may take, if not 0.
        answers: exceptions that the server may answer, beside those of the library; others are
            errors of the model.
    """

    def __init__(self, network: Network, process: Process) -> None:
        self.network, self.process = network, process
        self.cut_requests = self.cut_answers = False
        self.slow = 0.0
        self.answers: tuple[type[Exception], ...] = ()
        self.closed = False
        self.sent: Counter[int] = Counter()  # requests in each second
        self._open: list[_Call] = []
        self._resets: list[Callable[[], None]] = []

    def call(self, what: str, perform: Callable[[], T], *, copies: bool = True) -> T:
        """Make a request: `perform` runs at the server each time that a copy arrives.

        Raises:
            StoreUnavailable: no answer in time.
            NotApplied: the server was not there.
            StoreClosed: the link is closed.
            Exception: what `perform` raises.
        """
        known: tuple[type[Exception], ...] = (LeadershipError, *self.answers)

        def answered(reply: Reply) -> None:
            try:
                value = perform()
            except known as error:
                reply(error)
            else:
                reply(value)

        return self.ask(what, answered, remaining_timeout(), copies=copies, held=False)  # type: ignore[return-value]

    def ask(
        self,
        what: str,
        perform: Callable[[Reply], None],
        limit: float,
        *,
        copies: bool = False,
        held: bool = True,
        lane: object = None,
    ) -> object:
        """Make a request that the server may answer later, by the function that `perform` gets.

        Args:
            what: for the trace.
            perform: runs at the server.
            limit: seconds of the caller's clock.
            copies: whether the network may deliver it twice.
            held: whether the server may hold the answer back, as in a long poll.
            lane: the argument of the `cut` that ends this request.
        """
        world, net = self.network.world, self.network
        task = world.current
        self.sent[int(world.now)] += 1
        if self.closed:
            raise StoreClosed("the store is closed")
        if net.refusing:
            world.sleep(0.001)
            raise NotApplied("connection refused")
        call = _Call(self, task, what, lane, held=held)
        if world.trace is not None:
            world.note(f"{task!r} sends {what}")

        def arrive() -> None:
            if net.down or net.refusing:
                return
            perform(call.reply)

        if self.cut_requests:
            pass
        elif net.bad(net.profile.lost):
            net.faults["request lost"] += 1
            world.note(f"lost: {what} of {task!r}")
        else:
            world.after(net.delay(self), arrive)
            if copies and net.bad(net.profile.copied):
                net.faults["copied"] += 1
                world.note(f"copied: {what} of {task!r}")
                world.after(net.delay(self) + net.rng.uniform(0, net.profile.lateness), arrive)
        until = world.now + max(limit, 0.001) / self.process.rate
        self._open.append(call)
        try:
            while not call.over and world.now < until:
                world.park(until)
        finally:
            call.closed = True
            self._open.remove(call)
        # Between the arrival of an answer and its processing anything may happen, too.
        world.step()
        if not call.over:
            world.note(f"{task!r} gives up {what}")
            raise StoreUnavailable(f"{what}: no answer")
        if isinstance(call.answer, Exception):
            if world.trace is not None and not isinstance(call.answer, StoreClosed):
                world.note(f"{task!r} gets {what}: {call.answer!r}")
            raise call.answer
        return call.answer

    def cut(self, lane: object) -> None:
        """End the requests of that lane."""
        self._end(lambda call: call.lane is lane)

    def close(self) -> None:
        """End all requests."""
        self.closed = True
        self._end(lambda _: True)

    def on_reset(self, call: Callable[[], None]) -> None:
        """Call that when the server closes all connections."""
        self._resets.append(call)

    def reset(self) -> None:
        """The server closes all connections."""
        for one in self._resets:
            one()
        for call in self._open:
            call.fail(StoreUnavailable(f"{call.what}: connection reset"))

    def _end(self, which: Callable[[_Call], bool]) -> None:
        for call in self._open:
            if which(call):
                call.fail(StoreClosed("cut off: it is no longer wanted"))


class _Call:
    """One request that waits for its answer."""

    __slots__ = ("answer", "closed", "held", "lane", "link", "over", "task", "what")

    def __init__(self, link: Link, task: Task, what: str, lane: object, *, held: bool) -> None:
        self.link, self.task, self.what, self.lane = link, task, what, lane
        self.held = held
        self.answer: object = None
        self.over = False  # it is answered, or cut off
        self.closed = False  # its caller has given up

    def reply(self, answer: object) -> None:
        """The server answers; the answer may be lost."""
        link, net = self.link, self.link.network
        if net.down or link.cut_answers:
            # TCP sends a held answer again, unless the connection is half open.
            if self.held and not (net.half_open or self.closed):
                net.world.after(net.rng.uniform(0.2, 3.0), lambda: self.reply(answer))
            return
        if net.bad(net.profile.lost):
            net.faults["answer lost"] += 1
            net.world.note(f"lost: the answer to {self.what} of {self.task!r}")
            return
        net.world.after(net.delay(link), lambda: self._arrive(answer))

    def fail(self, error: Exception) -> None:
        """End the request with this error."""
        if not self.over:
            self.over, self.answer = True, error
            self.link.network.world.wake(self.task)

    def _arrive(self, answer: object) -> None:
        if not (self.over or self.closed):
            self.over, self.answer = True, answer
            self.link.network.world.wake(self.task)


class Pipe:
    """One direction of a TCP connection: messages arrive in order, or the connection breaks.

    Args:
        link: of the process.
        is_cut: whether nothing gets through now.
        broken: is called when nothing has got through for `limit` seconds.
        limit: seconds.
        retry: seconds between two transmissions of a message.
    """

    def __init__(
        self,
        link: Link,
        is_cut: Callable[[], bool],
        broken: Callable[[], None],
        *,
        limit: float,
        retry: float,
    ) -> None:
        self._link, self._world = link, link.network.world
        self._is_cut, self._broken = is_cut, broken
        self._limit, self._retry = limit, retry
        self._last_arrival = 0.0
        self._blocked_since: float | None = None
        self._messages: deque[Callable[[], None]] = deque()

    def send(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` when the message arrives."""
        delay = self._link.network.delay(self._link)
        self._last_arrival = max(self._last_arrival, self._world.now) + delay
        self._messages.append(deliver)
        self._world.at(self._last_arrival, self._arrive)

    def clear(self) -> None:
        """Drop the messages that are on their way."""
        self._messages.clear()

    def _arrive(self) -> None:
        if not self._messages:
            return
        if self._link.network.down or self._is_cut():
            if self._blocked_since is None:
                self._blocked_since = self._world.now
            if self._world.now - self._blocked_since > self._limit:
                self.clear()
                self._broken()
            else:
                self._world.after(self._retry, self._arrive)
            return
        self._blocked_since = None
        self._messages.popleft()()
