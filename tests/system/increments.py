"""The processes that increment one counter, and the faults injected into them."""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.backends import LEAST, Times
from tests.support.paths import python_path
from tests.support.recording import Recording
from tests.support.servers.process import Process
from tests.support.servers.proxy import Proxy, Way
from tests.support.waiting import wait_until
from tests.system.counters import open_any
from tests.system.increment_worker import HOLD
from tests.system.lost_updates import Attempt, attempts_of

__all__ = ["IncrementFleet", "IncrementProcess", "Link", "Nemesis", "PausedWrite"]


@dataclass(frozen=True, slots=True)
class Link:
    """A link to the store that can be cut."""

    url: str
    proxy: Proxy


class IncrementProcess:
    """A process of `increment_worker.py`, with its link to the store if there is one."""

    def __init__(self, process: Process, recording: Recording, link: Link | None) -> None:
        self.process, self.recording, self.link = process, recording, link
        self._hold = recording.file.with_suffix(HOLD)
        self._known = 0  # remarks that are in the figures below
        self.step, self.token = "", 0  # the last ones
        self.done: Counter[int] = Counter()  # increments of each term

    @property
    def who(self) -> str:
        return self.recording.who

    def refresh(self) -> IncrementProcess:
        """Read what was added to its recording since the last call."""
        remarks = self.recording.read().remarks
        for remark in remarks[self._known :]:
            self.step, self.token = remark["step"], remark["token"]
            self.done[self.token] += self.step == "done"
        self._known = len(remarks)
        return self

    def attempts(self) -> list[Attempt]:
        """All its attempts."""
        return attempts_of(self.who, self.recording.read().remarks)

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the duration of the block, stop it between its check and its write."""
        self._hold.touch()
        try:
            yield
        finally:
            self._hold.unlink()

    def describe(self) -> str:
        """Its last records and output, for the message of a failure."""
        state = "runs" if self.process.alive else "has ended"
        return f"{self.who} {state}: {self.recording.read().remarks[-4:]}\n{self.process.tail(8)}"


class IncrementFleet:
    """All processes of one election.

    Args:
        folder: for their recordings.
        url: of the store.
        key: of the election; the counter has one of its own.
        guard: what their writes rest on.
        ttl: seconds.
    """

    def __init__(self, folder: Path, url: str, key: str, guard: str, ttl: float) -> None:
        self.folder, self.url, self.key, self.guard, self.ttl = folder, url, key, guard, ttl
        self.counter = f"counters/{key}"
        self.members: list[IncrementProcess] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, link: Link | None = None) -> IncrementProcess:
        """Start one more process, that goes this way to the store."""
        who = f"w{len(self.members) + 1}"
        recording = Recording(self.folder / f"{who}.recording", who)
        words = [link.url if link else self.url, self.key, self.counter, who, str(recording.file)]
        options = ["--guard", self.guard, "--ttl", str(self.ttl)]
        process = Process(
            [sys.executable, "-m", "tests.system.increment_worker", *words, *options],
            self.folder / f"{who}.log",
            python_path(),
        )
        process.start()
        self.members.append(IncrementProcess(process, recording, link))
        return self.members[-1]

    def alive(self) -> list[IncrementProcess]:
        """The running processes, stopped ones included."""
        return [one for one in self.members if one.process.alive]

    def leader(self) -> IncrementProcess | None:
        """The process that was the last to begin a term with an increment, if it still runs."""
        last = max((one.refresh() for one in self.members), key=lambda one: one.token, default=None)
        return last if last is not None and last.token and last.process.alive else None

    def done_after(self, token: int) -> int:
        """The number of acknowledged increments of later terms."""
        return sum(
            count
            for one in self.members
            for term, count in one.refresh().done.items()
            if term > token
        )

    def await_done(self, count: int, seconds: float, *, after: int) -> None:
        """Wait until that many increments of terms later than `after` have been acknowledged."""
        try:
            wait_until(
                lambda: self.done_after(after) >= count,
                seconds,
                f"{count} increments with tokens above {after}",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def await_ready(self, seconds: float = 20.0) -> None:
        """Wait until all processes campaign."""
        wait_until(lambda: all(one.refresh().step for one in self.alive()), seconds, "all campaign")

    def is_blocked(self) -> bool:
        """Whether the database file of a store without a server stays locked."""
        scheme, _, file = self.url.partition(":///")
        if scheme not in {"sqlite", LEAST}:
            return False
        with closing(sqlite3.connect(file, timeout=0.5, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            database.execute("ROLLBACK")
            return False

    def stop(self) -> None:
        """Stop all running processes gracefully."""
        for one in self.alive():
            one.process.terminate(self.ttl + 10)

    def kill(self) -> None:
        """Kill all running processes."""
        for one in self.members:
            one.process.kill()

    def attempts(self) -> list[Attempt]:
        """The attempts of all processes."""
        return [attempt for one in self.members for attempt in one.attempts()]

    def final(self) -> int:
        """The final value of the counter."""
        with open_any(self.url) as store:
            entry = store.get(self.counter)
            return 0 if entry is None else int(entry.value.partition(b" ")[0])

    def describe(self) -> str:
        """The last records and output of all processes."""
        return "\n".join(one.describe() for one in self.members)


class PausedWrite:
    """A leader that is stopped between its check and its write.

    Args:
        fleet: one of them leads.
        victim: that one.
    """

    def __init__(self, fleet: IncrementFleet, victim: IncrementProcess) -> None:
        self.fleet, self.victim = fleet, victim
        self._stop_in_the_gap()
        while fleet.is_blocked():
            # Another thread of it was inside a transaction: no other can be elected (README).
            self.let_go()
            self._stop_in_the_gap()
        self.token = victim.token

    def _stop_in_the_gap(self) -> None:
        with self.victim.held():
            wait_until(lambda: self._is("held"), 10, f"{self.victim.who} is held")
            self.victim.process.pause()
        # It is the hold that has gone now, and not the process: it goes on with its write.
        assert self._is("held"), self.victim.describe()

    def await_another(self, count: int, seconds: float) -> None:
        """Wait until others have led since, and have made that many increments."""
        self.fleet.await_done(count, seconds, after=self.token)

    def let_go(self) -> str:
        """Continue it; returns the outcome of its write."""
        number = len(self.victim.recording.remarks)
        self.victim.process.resume()
        wait_until(lambda: not self._is("held"), 10, "its write is over")
        outcome: str = self.victim.recording.remarks[number]["step"]
        return outcome

    def _is(self, step: str) -> bool:
        assert self.victim.process.alive, self.victim.describe()
        return self.victim.refresh().step == step


class Nemesis:
    """Injects random faults into a fleet; the same seed gives the same faults in the same order.

    Args:
        fleet: the candidates.
        times: what may be expected of the store.
        seed: of what is done, and of the times in between.
    """

    def __init__(self, fleet: IncrementFleet, times: Times, seed: int) -> None:
        self.fleet, self.times = fleet, times
        self.rng = random.Random(seed)
        self.actions: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Inject faults for that long, the first one at once."""
        actions: list[Callable[[], None]] = [self._strike, self._stop_the_leader]
        actions += [self._stop_some, self._kill_one, self._kill_the_leader]
        weights = [4, 3, 2, 1, 1]
        if all(one.link for one in self.fleet.members):
            actions += [self._cut_off_the_leader, self._reset_the_leader]
            weights += [4, 4]
        until = time.monotonic() + seconds
        self._strike()
        while time.monotonic() < until:
            time.sleep(self.rng.uniform(0.1, 1.0))
            self.rng.choices(actions, weights=weights)[0]()
        newest = max(one.refresh().token for one in self.fleet.members)
        self.fleet.await_done(self.fleet.done_after(newest - 1) + 5, 30, after=newest - 1)

    def _strike(self) -> None:
        leader = self._await_leader()
        try:
            strike = PausedWrite(self.fleet, leader)
        except AssertionError:
            if leader.process.alive and self.fleet.leader() is leader:
                raise
            return  # its term has ended before it came to the gap
        try:
            strike.await_another(1, self.times.pause + 5)
            strike.await_another(self.rng.choice([1, 5, 50]), 30)  # a busy machine is slow
        finally:
            self.actions[f"{strike.let_go()} after a stop in the gap"] += 1

    def _stop_the_leader(self) -> None:
        self._stop([self._await_leader()])

    def _stop_some(self) -> None:
        alive = self.fleet.alive()
        self._stop(self.rng.sample(alive, self.rng.randint(1, len(alive))))

    def _stop(self, some: list[IncrementProcess]) -> None:
        for one in some:
            one.process.pause()
        time.sleep(self.rng.choice([0.05, 0.5, 1.0, 1.3]) * self.times.pause)
        for one in self.rng.sample(some, len(some)):
            one.process.resume()
            time.sleep(self.rng.choice([0.0, 0.1]))
        self.actions["stopped"] += len(some)

    def _kill_one(self) -> None:
        self._kill(self.rng.choice(self.fleet.alive()))

    def _kill_the_leader(self) -> None:
        self._kill(self._await_leader())

    def _kill(self, one: IncrementProcess) -> None:
        one.process.kill()
        self.fleet.start(one.link)
        self.actions["killed"] += 1

    def _cut_off_the_leader(self) -> None:
        link = self._await_leader().link
        assert link is not None
        ways: list[tuple[Way, ...]] = [("up",), ("down",), ("up", "down")]
        link.proxy.cut(*self.rng.choice(ways))
        # What is under way arrives when it ends; a request waits for its answer for 5 s.
        time.sleep(self.rng.choice([0.1, 0.5, 1.3, 3.0]) * self.times.pause)
        link.proxy.heal()
        self.actions["cut off"] += 1

    def _reset_the_leader(self) -> None:
        link = self._await_leader().link
        assert link is not None
        for _ in range(self.rng.choice([1, 5])):
            link.proxy.reset()
            time.sleep(self.rng.uniform(0.0, 0.05))
        self.actions["reset"] += 1

    def _await_leader(self) -> IncrementProcess:
        """Wait for an increment, and return the leader."""
        since = self.fleet.done_after(0)
        wait_until(lambda: self.fleet.done_after(0) > since, 30, "there is an increment")
        leader = self.fleet.leader()
        assert leader is not None, self.fleet.describe()
        return leader
