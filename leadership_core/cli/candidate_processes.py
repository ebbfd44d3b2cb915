"""Candidate processes of a demo or a check: start, signals, messages, and the resulting history."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..backend import clock
from ..errors import LeadershipError
from .command import ENVIRONMENT_URL
from .signals import deferred

if TYPE_CHECKING:
    from ..testing.history import History

__all__ = ["CandidateProcesses", "ExpectationFailed", "Message", "count_readings", "history_of"]

_STOP_SECONDS = 5.0

# -P: `-m` or `-c` alone would put the working folder first, and a pluggy.py that lies there would be
# run with the store's password in its environment. This package may have been found through a
# folder that is on the path of this process only; last, it takes precedence over nothing.
_PROGRAM = f"""\
import sys
sys.path.append({str(Path(__file__).parents[2])!r})
from {__package__}.candidate_process import main
main(*sys.argv[1:])
"""


class ExpectationFailed(LeadershipError):
    """An expected event did not happen, or an unexpected one did."""


@dataclass(frozen=True, slots=True)
class Message:
    """A JSON object that a candidate process printed.

    Attributes:
        name: the candidate.
        fields: the object; see `candidate_process`.
    """

    name: str
    fields: dict[str, Any]

    @property
    def at(self) -> float:
        """The boot clock's time, in seconds."""
        return float(self.fields["at"])

    def is_event(self, event: str) -> bool:
        """Return whether it is this event of `leadership elect`."""
        return bool(self.fields.get("event") == event)


@dataclass(slots=True)
class _Process:
    process: subprocess.Popen[bytes]
    errors: list[str] = field(default_factory=list)
    listener: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


class CandidateProcesses:
    """Starts candidate processes, receives their messages, and ends all of them when it is left.

    Args:
        url: URL of the store, with its secrets; it is passed on where `ps` does not show it.
        key: the election.
        ttl: ttl of the candidates, in seconds.

    Attributes:
        messages: all messages until now.
    """

    def __init__(self, url: str, key: str, ttl: float) -> None:
        self._url, self._key, self._ttl = url, key, ttl
        self._processes: dict[str, _Process] = {}
        self._expected_to_end: set[str] = set()
        self._changed = threading.Condition()
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with deferred():
            self.end()

    def start(self, name: str) -> None:
        """Start a candidate of this name."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, self._key, name, str(self._ttl)],
            stdin=subprocess.PIPE,  # its end shows the candidate that this process has ended
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, ENVIRONMENT_URL: self._url},
            process_group=0,  # Ctrl-C is for this process, which ends them in order
        )
        one = self._processes[name] = _Process(process)
        one.listener = threading.Thread(target=self._listen, args=(name, one), daemon=True)
        one.listener.start()

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send a signal; returns the boot clock's time just before it."""
        if number == signal.SIGKILL:
            self._expected_to_end.add(name)
        now = clock.now()
        self._processes[name].process.send_signal(number)
        return now

    def wait(
        self, what: str, seconds: float, matches: Callable[[Message], bool], *, since: int = 0
    ) -> Message:
        """Return the first message that matches, of those from the number `since` on.

        Args:
            what: what is awaited, for the error.
            seconds: how long to wait at most.
            matches: whether a message is the one.
            since: how many of `messages` to skip.

        Raises:
            ExpectationFailed: there was none within that time, or a candidate has ended.
        """
        until = clock.now() + seconds
        with self._changed:
            while True:
                for message in self.messages[since:]:
                    if matches(message):
                        return message
                for name, one in self._processes.items():
                    if name not in self._expected_to_end and not one.is_running:
                        why = "; ".join(one.errors[-3:]) or f"exit code {one.process.returncode}"
                        raise ExpectationFailed(f"{name} ended unexpectedly: {why}")
                left = until - clock.now()
                if left <= 0:
                    raise ExpectationFailed(f"no such event within {seconds:.1f} s: {what}")
                self._changed.wait(left)

    def end(self) -> bool:
        """End all processes, paused ones included; returns False if one did not stop by itself."""
        running = {name: one for name, one in self._processes.items() if one.is_running}
        self._expected_to_end.update(running)
        for one in running.values():
            for number in (signal.SIGTERM, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    one.process.send_signal(number)
        until = clock.now() + _STOP_SECONDS
        codes = []
        for one in running.values():
            try:
                codes.append(one.process.wait(max(0.0, until - clock.now())))
            except subprocess.TimeoutExpired:
                one.process.kill()
                codes.append(one.process.wait())
        for one in self._processes.values():
            if one.listener is not None:
                one.listener.join(1.0)  # until the last of its output was read
            for pipe in (one.process.stdin, one.process.stdout):
                if pipe is not None:
                    pipe.close()
        return all(code == 0 for code in codes)

    def _listen(self, name: str, one: _Process) -> None:
        assert one.process.stdout is not None
        for raw in one.process.stdout:
            line = raw.decode("utf-8", "replace").strip()
            with self._changed:
                if line.startswith("{"):
                    self.messages.append(Message(name, json.loads(line)))
                else:
                    one.errors.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def history_of(
    messages: Sequence[Message], *, killed: Mapping[str, float], ended: Iterable[str] = ()
) -> History:
    """Return the history of the election that these messages describe.

    Args:
        messages: all messages of its candidates.
        killed: when each killed candidate was killed; it could not report the end of its term.
        ended: the candidates that had the time to stop in order.
    """
    # Only here: the testing kit takes a while to import, and most commands do not need it.
    from ..testing.history import History, LeadershipInterval, Observation

    history = History()
    intervals: dict[tuple[str, int], LeadershipInterval] = {}
    for message in messages:
        name, fields = message.name, message.fields
        if "leads" in fields:
            token, since = fields["leads"], message.at
            until = killed.get(name, since)
            intervals[name, token] = LeadershipInterval(name, token, since, until)
        elif "led" in fields:
            token, since, until = fields["led"], fields["first"], fields["last"]
            intervals[name, token] = LeadershipInterval(name, token, since, until, open=False)
        elif "event" in fields:
            elected = fields["token"] if message.is_event("elected") else None
            history.observations.append(Observation(name, fields["event"], elected, message.at))
    history.intervals += intervals.values()
    for name in ended:
        history.end(name)
    return history


def count_readings(messages: Iterable[Message]) -> int:
    """Return how often leaders have read that they are leader."""
    return sum(message.fields.get("readings", 0) for message in messages)
