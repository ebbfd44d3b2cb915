"""The processes that increment one counter, and what can be done to them."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.diary import Diary
from tests.scenarios.fleet import ROOT, await_true
from tests.servers.process import Process
from tests.servers.proxy import Proxy
from tests.updates.checker import Attempt, attempts_of
from tests.updates.counters import LEAST, open_any
from tests.updates.worker import HOLD

__all__ = ["Crew", "Link", "Member"]


@dataclass(frozen=True, slots=True)
class Link:
    """A way to the store that can be cut."""

    url: str
    proxy: Proxy


class Member:
    """One process of `worker.py`, and its way to the store if that can be cut."""

    def __init__(self, process: Process, diary: Diary, link: Link | None) -> None:
        self.process, self.diary, self.link = process, diary, link
        self._hold = diary.file.with_suffix(HOLD)
        self._known = 0  # remarks that are in the figures below
        self.step, self.token = "", 0  # the last ones
        self.done: Counter[int] = Counter()  # increments of each term

    @property
    def who(self) -> str:
        return self.diary.who

    def look(self) -> Member:
        """Take in what it has written since the last look."""
        remarks = self.diary.read().remarks
        for remark in remarks[self._known :]:
            self.step, self.token = remark["step"], remark["token"]
            self.done[self.token] += self.step == "done"
        self._known = len(remarks)
        return self

    def attempts(self) -> list[Attempt]:
        """All that it has tried."""
        return attempts_of(self.who, self.diary.read().remarks)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While entered, it does not go from its look to its write."""
        self._hold.touch()
        try:
            yield
        finally:
            self._hold.unlink()

    def told(self) -> str:
        """Its last words, for whoever looks for the cause of a failure."""
        state = "runs" if self.process.alive else "has ended"
        return f"{self.who} {state}: {self.diary.read().remarks[-4:]}\n{self.process.tail(8)}"


class Crew:
    """All processes of one election.

    Args:
        folder: for their diaries.
        url: of the store.
        key: of the election; the counter has one of its own.
        guard: what their writes rest on.
        ttl: seconds.
    """

    def __init__(self, folder: Path, url: str, key: str, guard: str, ttl: float) -> None:
        self.folder, self.url, self.key, self.guard, self.ttl = folder, url, key, guard, ttl
        self.counter = f"counters/{key}"
        self.members: list[Member] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, link: Link | None = None) -> Member:
        """Start one more process, that goes this way to the store."""
        who = f"w{len(self.members) + 1}"
        diary = Diary(self.folder / f"{who}.diary", who)
        words = [link.url if link else self.url, self.key, self.counter, who, str(diary.file)]
        options = ["--guard", self.guard, "--ttl", str(self.ttl)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = Process(
            [sys.executable, "-m", "tests.updates.worker", *words, *options],
            self.folder / f"{who}.log",
            {"PYTHONPATH": path},
        )
        process.start()
        self.members.append(Member(process, diary, link))
        return self.members[-1]

    def alive(self) -> list[Member]:
        """Those that run, stopped ones included."""
        return [one for one in self.members if one.process.alive]

    def leader(self) -> Member | None:
        """Who was the last to begin a term with an increment, if it runs."""
        last = max((one.look() for one in self.members), key=lambda one: one.token, default=None)
        return last if last is not None and last.token and last.process.alive else None

    def done_after(self, token: int) -> int:
        """How many increments of later terms have been acknowledged."""
        return sum(
            count for one in self.members for term, count in one.look().done.items() if term > token
        )

    def await_done(self, count: int, seconds: float, *, after: int) -> None:
        """Wait until that many increments of terms later than `after` have been acknowledged."""
        try:
            await_true(
                f"{count} increments with tokens above {after}",
                lambda: self.done_after(after) >= count,
                seconds,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def await_ready(self, seconds: float = 20.0) -> None:
        """Wait until all stand for election."""
        await_true("all stand", lambda: all(one.look().step for one in self.alive()), seconds)

    def is_blocked(self) -> bool:
        """Whether somebody keeps the file of a store without a server locked, other than for a moment."""
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
        """Stop all that runs, in order."""
        for one in self.alive():
            one.process.terminate(self.ttl + 10)

    def kill(self) -> None:
        """End whatever runs."""
        for one in self.members:
            one.process.kill()

    def attempts(self) -> list[Attempt]:
        """All that they have tried."""
        return [attempt for one in self.members for attempt in one.attempts()]

    def final(self) -> int:
        """What the counter says."""
        with open_any(self.url) as store:
            entry = store.get(self.counter)
            return 0 if entry is None else int(entry.value.partition(b" ")[0])

    def told(self) -> str:
        """Their last words."""
        return "\n".join(one.told() for one in self.members)
