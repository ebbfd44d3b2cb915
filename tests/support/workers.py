"""The candidate processes of one election, and waits for their events."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.oracle import assert_sound
from tests.support.paths import python_path
from tests.support.recording import Interval, RecordedEvent, Recording
from tests.support.servers.process import Process
from tests.support.waiting import wait_until

__all__ = ["Fleet", "Worker"]


class Worker:
    """A process of `worker.py`, and its recording."""

    def __init__(self, process: Process, recording: Recording) -> None:
        self.process, self.recording = process, recording
        self.ending = False  # it was asked to stop, and given the time

    @property
    def who(self) -> str:
        return self.recording.who

    def signal(self, number: signal.Signals) -> None:
        self.process.send(number)

    def stop(self) -> None:
        """Ask it to stop, without waiting."""
        self.ending = True
        self.signal(signal.SIGTERM)

    def trigger(self) -> None:
        """Trigger its fault."""
        self.signal(signal.SIGUSR2)

    def remarks(self, name: str) -> list[dict[str, Any]]:
        """The remarks of that name in its recording."""
        return [one for one in self.recording.read().remarks if name in one]

    def await_remark(self, name: str, seconds: float, *, after: int = 0) -> dict[str, Any]:
        """Wait for one more remark of that name than so many, and return it."""
        try:
            wait_until(lambda: len(self.remarks(name)) > after, seconds, name)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None
        return self.remarks(name)[after]

    def describe(self) -> str:
        """Its state, events and output, for the message of a failure."""
        events = [
            (note.at // 1_000_000, note.name, note.token or note.reason or "")
            for note in self.recording.read().events
        ]
        state = "runs" if self.process.alive else f"has ended with {self.process.wait(1)}"
        return f"{self.who} {state}; its events: {events}\n{self.process.tail(6)}"

    def interval(self) -> Interval | None:
        """The interval in which it is leader, or None."""
        return self.recording.read().interval

    def count(self, name: str) -> int:
        """The number of its events of that name."""
        return self.recording.names().count(name)

    def await_event(self, name: str, seconds: float, *, after: int = 0) -> RecordedEvent:
        """Wait for one more event of that name than so many, and return it."""
        try:
            wait_until(
                lambda: self.count(name) > after or not self.process.alive,
                seconds,
                f"{name} number {after + 1}",
            )
            assert self.count(name) > after, f"it ended before {name} number {after + 1}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None
        return [note for note in self.recording.events if note.name == name][after]


@dataclass(frozen=True, slots=True)
class LeaderTerm:
    """A leader, its term, and when that began."""

    worker: Worker
    token: int
    since: int


class Fleet:
    """All workers of one election; their URLs may lead to the same store on different ways."""

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
        program: Sequence[str] = ("tests.support.worker",),
        options: Sequence[str] = (),
        within: Sequence[str] = (),
    ) -> Worker:
        """Start one more process.

        Args:
            who: its value.
            url: of the store, if it is to have one of its own.
            pause: seconds between two polls.
            program: the module, and words that it wants before those of `worker.py`.
            options: more of those of `worker.py`.
            within: the words of a command that runs it.
        """
        number = len(self.workers) + 1
        name = self.folder / f"{number}-{who}"
        recording = Recording(name.with_suffix(".recording"), f"{number}-{who}")
        words = [url or self.url, self.key, who, str(recording.file)]
        options = ["--ttl", str(self.ttl), "--pause", str(pause), *options]
        process = Process(
            [*within, sys.executable, "-m", *program, *words, *options],
            name.with_suffix(".log"),
            python_path(),
        )
        process.start()
        self.workers.append(Worker(process, recording))
        return self.workers[-1]

    def join(self, process: Process, recordings: Sequence[Recording]) -> list[Worker]:
        """Add a running process with the recordings of its candidates."""
        joined = [Worker(process, recording) for recording in recordings]
        self.workers += joined
        return joined

    def start_all(self, *names: str, pause: float = 0.0005) -> list[Worker]:
        """Start several processes, and wait until all of them campaign."""
        workers = [self.start(name, pause=pause) for name in names]
        for worker in workers:
            worker.await_event("campaigning", 15)
        return workers

    def leader(self) -> LeaderTerm | None:
        """The newest term that has not ended, among running processes."""
        found = [
            LeaderTerm(worker, interval.token, interval.since)
            for worker in self.workers
            if worker.process.alive and (interval := worker.interval()) is not None
        ]
        return max(found, key=lambda leader: leader.token, default=None)

    def await_leader(self, seconds: float, *, after: LeaderTerm | int | None = None) -> LeaderTerm:
        """Wait for a leader with a larger token, and return it."""
        least = after.token if isinstance(after, LeaderTerm) else after or 0
        found: list[LeaderTerm] = []

        def is_led() -> bool:
            leader = self.leader()
            found[:] = [leader] if leader is not None and leader.token > least else []
            return bool(found)

        try:
            wait_until(is_led, seconds, f"a leader with a token above {least}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None
        return found[0]

    def describe(self) -> str:
        """The description of all workers."""
        return "\n".join(worker.describe() for worker in self.workers)

    def finish(self, *, gap: float = 0.0) -> None:
        """Stop all processes, and check the recorded history.

        For `gap` see `assert_sound`.
        """
        self.stop()
        try:
            assert_sound(
                [worker.recording for worker in self.workers],
                ended=[worker.recording for worker in self.workers if worker.ending],
                gap=gap,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def stop(self) -> None:
        """Stop all processes; those still running release their claims and exit with 0."""
        last = [one for one in self.workers if one.process.alive and not one.ending]
        for worker in last:
            worker.await_event("campaigning", 15)  # before that it would just die of it
            worker.stop()
        for worker in self.workers:
            if worker.ending:
                code = worker.process.wait(self.ttl * 2 + 10)
                # One that was stopped earlier may have been in trouble.
                assert code == 0 or (code == 1 and worker not in last), worker.describe()

    def kill(self) -> None:
        """Kill all running processes."""
        for worker in self.workers:
            worker.process.kill()
