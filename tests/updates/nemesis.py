"""What is done to those who increment: stopped at the worst moment or any, killed, cut off."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from tests.scenarios.fleet import await_true
from tests.scenarios.places import Times
from tests.servers.proxy import Way
from tests.updates.crew import Crew, Member

__all__ = ["Nemesis", "Strike"]


class Strike:
    """A leader that is stopped exactly between its look and its write.

    Args:
        crew: one of whom leads.
        victim: that one.
    """

    def __init__(self, crew: Crew, victim: Member) -> None:
        self.crew, self.victim = crew, victim
        self._stop_in_the_gap()
        while crew.is_blocked():
            # Another thread of it was inside a transaction: nobody else can be elected (README).
            self.let_go()
            self._stop_in_the_gap()
        self.token = victim.token

    def _stop_in_the_gap(self) -> None:
        with self.victim.held():
            await_true(f"{self.victim.who} stands in the gap", lambda: self._is("stands"), 10)
            self.victim.process.pause()
        # It is the hold that has gone now, and not the process: it goes on with its write.
        assert self._is("stands"), self.victim.told()

    def await_another(self, count: int, seconds: float) -> None:
        """Wait until others have led since, and have incremented that often."""
        self.crew.await_done(count, seconds, after=self.token)

    def let_go(self) -> str:
        """Let it go on; returns what came of its write."""
        number = len(self.victim.diary.remarks)
        self.victim.process.resume()
        await_true("its write is over", lambda: not self._is("stands"), 10)
        outcome: str = self.victim.diary.remarks[number]["step"]
        return outcome

    def _is(self, step: str) -> bool:
        assert self.victim.process.alive, self.victim.told()
        return self.victim.look().step == step


class Nemesis:
    """Does things to a crew at random; the same seed does the same things in the same order.

    Args:
        crew: whom to; they stand for election.
        times: what may be expected of the store.
        seed: of what is done, and of the times in between.
    """

    def __init__(self, crew: Crew, times: Times, seed: int) -> None:
        self.crew, self.times = crew, times
        self.rng = random.Random(seed)
        self.deeds: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Go on for that long; a strike comes first, so that there is one."""
        deeds: list[Callable[[], None]] = [self._strike, self._stop_the_leader]
        deeds += [self._stop_some, self._kill_one, self._kill_the_leader]
        weights = [4, 3, 2, 1, 1]
        if all(one.link for one in self.crew.members):
            deeds += [self._cut_off_the_leader, self._reset_the_leader]
            weights += [4, 4]
        until = time.monotonic() + seconds
        self._strike()
        while time.monotonic() < until:
            time.sleep(self.rng.uniform(0.1, 1.0))
            self.rng.choices(deeds, weights=weights)[0]()
        newest = max(one.look().token for one in self.crew.members)
        self.crew.await_done(self.crew.done_after(newest - 1) + 5, 30, after=newest - 1)

    def _strike(self) -> None:
        leader = self._await_leader()
        try:
            strike = Strike(self.crew, leader)
        except AssertionError:
            if leader.process.alive and self.crew.leader() is leader:
                raise
            return  # its term has ended before it came to the gap
        try:
            strike.await_another(1, self.times.pause + 5)
            strike.await_another(self.rng.choice([1, 5, 50]), 30)  # a busy machine is slow
        finally:
            self.deeds[f"{strike.let_go()} after a stop in the gap"] += 1

    def _stop_the_leader(self) -> None:
        self._stop([self._await_leader()])

    def _stop_some(self) -> None:
        alive = self.crew.alive()
        self._stop(self.rng.sample(alive, self.rng.randint(1, len(alive))))

    def _stop(self, some: list[Member]) -> None:
        for one in some:
            one.process.pause()
        time.sleep(self.rng.choice([0.05, 0.5, 1.0, 1.3]) * self.times.pause)
        for one in self.rng.sample(some, len(some)):
            one.process.resume()
            time.sleep(self.rng.choice([0.0, 0.1]))
        self.deeds["stopped"] += len(some)

    def _kill_one(self) -> None:
        self._kill(self.rng.choice(self.crew.alive()))

    def _kill_the_leader(self) -> None:
        self._kill(self._await_leader())

    def _kill(self, one: Member) -> None:
        one.process.kill()
        self.crew.start(one.link)
        self.deeds["killed"] += 1

    def _cut_off_the_leader(self) -> None:
        link = self._await_leader().link
        assert link is not None
        ways: list[tuple[Way, ...]] = [("up",), ("down",), ("up", "down")]
        link.proxy.cut(*self.rng.choice(ways))
        # What is under way arrives when it ends; a request waits for its answer for 5 s.
        time.sleep(self.rng.choice([0.1, 0.5, 1.3, 3.0]) * self.times.pause)
        link.proxy.heal()
        self.deeds["cut off"] += 1

    def _reset_the_leader(self) -> None:
        link = self._await_leader().link
        assert link is not None
        for _ in range(self.rng.choice([1, 5])):
            link.proxy.reset()
            time.sleep(self.rng.uniform(0.0, 0.05))
        self.deeds["reset"] += 1

    def _await_leader(self) -> Member:
        """Wait until somebody increments, and return who."""
        since = self.crew.done_after(0)
        await_true("somebody increments", lambda: self.crew.done_after(0) > since, 30)
        leader = self.crew.leader()
        assert leader is not None, self.crew.told()
        return leader
