"""The processes that stand in one election, and what a scenario waits for."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scenarios.diary import Belief, Diary, Note
from tests.scenarios.sweep import sweep
from tests.servers.process import Process
from tests.support.machine import at_most

__all__ = ["ROOT", "Fleet", "Worker", "await_true"]

ROOT = Path(__file__).resolve().parents[2]


def await_true(what: str, is_it: Callable[[], object], seconds: float) -> None:
    """Poll until it is true; fail after that many seconds."""
    deadline = time.monotonic() + at_most(seconds)
    while not is_it():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.005)


class Worker:
    """One process of `worker.py`, and its diary."""

    def __init__(self, process: Process, diary: Diary) -> None:
        self.process, self.diary = process, diary
        self.ending = False  # it was told to stop, and given the time

    @property
    def who(self) -> str:
        return self.diary.who

    def signal(self, number: signal.Signals) -> None:
        self.process.send(number)

    def stop(self) -> None:
        """Tell it to stop; waits for nothing."""
        self.ending = True
        self.signal(signal.SIGTERM)

    def cue(self) -> None:
        """Tell it to do what it is odd for."""
        self.signal(signal.SIGUSR2)

    def remarks(self, name: str) -> list[dict[str, Any]]:
        """What it has written of that name, of what is no event."""
        return [one for one in self.diary.read().remarks if name in one]

    def await_remark(self, name: str, seconds: float, *, after: int = 0) -> dict[str, Any]:
        """Wait for a remark after that many of the same name, and return it."""
        try:
            await_true(name, lambda: len(self.remarks(name)) > after, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None
        return self.remarks(name)[after]

    def told(self) -> str:
        """All that it has said, for whoever looks for the cause of a failure."""
        story = [
            (note.at // 1_000_000, note.name, note.token or note.reason or "")
            for note in self.diary.read().notes
        ]
        state = "runs" if self.process.alive else f"has ended with {self.process.wait(1)}"
        return f"{self.who} {state} and has told {story}\n{self.process.tail(6)}"

    def belief(self) -> Belief | None:
        """What it believes at present."""
        return self.diary.read().belief

    def count(self, name: str) -> int:
        """How many events of that name there have been."""
        return self.diary.names().count(name)

    def await_event(self, name: str, seconds: float, *, after: int = 0) -> Note:
        """Wait for an event after that many of the same name, and return it."""
        try:
            await_true(
                f"{name} number {after + 1}",
                lambda: self.count(name) > after or not self.process.alive,
                seconds,
            )
            assert self.count(name) > after, f"it ended before {name} number {after + 1}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None
        return [note for note in self.diary.notes if note.name == name][after]


@dataclass(frozen=True, slots=True)
class Reign:
    """Who leads, for which term, since when."""

    worker: Worker
    token: int
    since: int


class Fleet:
    """All workers of one election; several of them may say different URLs for the same store."""

    def __init__(self, folder: Path, url: str, key: str, ttl: float) -> None:
        self.folder, self.url, self.key, self.ttl = folder, url, key, ttl
        self.workers: list[Worker] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        who: str,
        *,
        url: str = "",
        pause: float = 0.0005,
        program: Sequence[str] = ("tests.scenarios.worker",),
        options: Sequence[str] = (),
        within: Sequence[str] = (),
    ) -> Worker:
        """Start one more process.

        Args:
            who: its value.
            url: of the store, if it is to have one of its own.
            pause: seconds between two looks.
            program: the module, and words that it wants before those of `worker.py`.
            options: more of those of `worker.py`.
            within: the words of a command that runs it.
        """
        number = len(self.workers) + 1
        name = self.folder / f"{number}-{who}"
        diary = Diary(name.with_suffix(".diary"), f"{number}-{who}")
        words = [url or self.url, self.key, who, str(diary.file)]
        options = ["--ttl", str(self.ttl), "--pause", str(pause), *options]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = Process(
            [*within, sys.executable, "-m", *program, *words, *options],
            name.with_suffix(".log"),
            {"PYTHONPATH": path},
        )
        process.start()
        self.workers.append(Worker(process, diary))
        return self.workers[-1]

    def join(self, process: Process, diaries: Sequence[Diary]) -> list[Worker]:
        """Let a process that runs take part, whose candidates write these diaries."""
        joined = [Worker(process, diary) for diary in diaries]
        self.workers += joined
        return joined

    def start_all(self, *names: str, pause: float = 0.0005) -> list[Worker]:
        """Start several, and wait until all of them campaign."""
        workers = [self.start(name, pause=pause) for name in names]
        for worker in workers:
            worker.await_event("campaigning", 15)
        return workers

    def reign(self) -> Reign | None:
        """The newest belief that has not ended, among processes that run."""
        found = [
            Reign(worker, belief.token, belief.since)
            for worker in self.workers
            if worker.process.alive and (belief := worker.belief()) is not None
        ]
        return max(found, key=lambda reign: reign.token, default=None)

    def await_reign(self, seconds: float, *, after: Reign | int | None = None) -> Reign:
        """Wait until somebody leads for a term with a larger token, and return who."""
        least = after.token if isinstance(after, Reign) else after or 0
        found: list[Reign] = []

        def is_led() -> bool:
            reign = self.reign()
            found[:] = [reign] if reign is not None and reign.token > least else []
            return bool(found)

        try:
            await_true(f"a leader with a token above {least}", is_led, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None
        return found[0]

    def told(self) -> str:
        """All that was said, for whoever looks for the cause of a failure."""
        return "\n".join(worker.told() for worker in self.workers)

    def finish(self, *, gap: float = 0.0) -> None:
        """Stop all in order, and look whether everything that happened was sound.

        For `gap` see `sweep`.
        """
        self.stop()
        try:
            sweep(
                [worker.diary for worker in self.workers],
                ended=[worker.diary for worker in self.workers if worker.ending],
                gap=gap,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def stop(self) -> None:
        """Stop all in order. Whoever is stopped here has released what it held, and says so."""
        last = [one for one in self.workers if one.process.alive and not one.ending]
        for worker in last:
            worker.await_event("campaigning", 15)  # before that it would just die of it
            worker.stop()
        for worker in self.workers:
            if worker.ending:
                code = worker.process.wait(self.ttl * 2 + 10)
                # One that was stopped earlier may have been in trouble.
                assert code == 0 or (code == 1 and worker not in last), worker.told()

    def kill(self) -> None:
        """End whatever runs."""
        for worker in self.workers:
            worker.process.kill()
