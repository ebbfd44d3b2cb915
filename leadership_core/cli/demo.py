"""`leadership demo`: an election of three candidates, with a crash, a pause and a resignation."""

from __future__ import annotations

import contextlib
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigurationError, LeadershipError
from ..store import open_store
from . import output
from .arguments import Arguments
from .candidate_processes import (
    CandidateProcesses,
    ExpectationFailed,
    Message,
    count_readings,
    history_of,
)
from .opening import call_with_timeout, check_shared, choose_ttl
from .output import StepPrinter
from .signals import interruptible

__all__ = ["NAMES", "Scenario", "demo"]

NAMES = ("node-1", "node-2", "node-3")

_TTLS = (3.0, 10.0)  # the first that the store accepts; 10 is the least on many a Consul
_LONGEST_EXPIRY = 24.0  # seconds; two leases have to end, and the whole demo within a minute

_START_SECONDS = 30.0  # three interpreters on a busy machine
_ANSWER_SECONDS = 5.0  # for an event that needs no lease to end
_TERM_SECONDS = 1.0  # of each leader, to be seen


def demo(arguments: Arguments) -> int:
    """Show an election of three candidates; returns the exit code."""
    try:
        with interruptible(), contextlib.ExitStack() as stack:
            if arguments.url is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="leadership-demo-"))
                url = f"sqlite:///{quote(str(Path(folder, 'demo.db')))}"
            else:
                check_shared(arguments.url)
                url = arguments.url_text
            _run_demo(url, arguments)
    except BrokenPipeError:
        output.silence()
        return 1  # the demo was not shown to its end
    return 0


def _run_demo(url: str, arguments: Arguments) -> None:
    store = open_store(url)
    key = f"leadership-demo/{secrets.token_hex(4)}"
    printer = StepPrinter(as_json=arguments.json)
    try:
        ttl = choose_ttl(store, _TTLS, arguments.timeout)
        expiry = store.expires_within(ttl)
        if expiry > _LONGEST_EXPIRY:
            raise ConfigurationError(
                f"{store.url} frees the claim of a dead leader only after {expiry:g} s, which is"
                f" too long for a demo: it must be {_LONGEST_EXPIRY:g} s at most"
            )
        printer.print_step(
            "store",
            f"An election on {store.url}, key {key}, with a ttl of {ttl:g} s.",
            url=store.url,
            key=key,
            ttl=ttl,
        )
        try:
            with CandidateProcesses(url, key, ttl) as processes:
                Scenario(processes, printer, expiry).run()
        finally:
            with contextlib.suppress(LeadershipError):  # best effort: the key is the demo's own
                call_with_timeout(store, arguments.timeout, lambda: store.delete(key))
    finally:
        store.close(0.5)


@dataclass(frozen=True, slots=True)
class _Election:
    """How a leader was elected."""

    how: str
    name: str
    token: int
    seconds: float


class Scenario:
    """Three candidates: one is killed, one is paused, one resigns.

    Args:
        processes: the candidates.
        printer: prints the steps.
        expiry: seconds after which the store has ended the claim of a dead leader at the latest.
    """

    def __init__(self, processes: CandidateProcesses, printer: StepPrinter, expiry: float) -> None:
        self._processes = processes
        self._print_step = printer.print_step
        self._expiry = expiry
        self._elections: list[_Election] = []
        self._killed: dict[str, float] = {}
        self._begun = time.monotonic()

    def run(self) -> None:
        """Run all steps; takes less than a minute.

        Raises:
            ExpectationFailed: an expected event did not happen; the message says which.
        """
        leader = self._elect()
        for step in (self._kill, self._pause, self._resign):
            time.sleep(_TERM_SECONDS)
            leader = step(leader)
        time.sleep(_TERM_SECONDS)
        if not self._processes.end():
            raise ExpectationFailed("a candidate did not stop and had to be killed")
        self._sum_up()

    # -- the steps -----------------------------------------------------------------------------

    def _elect(self) -> str:
        self._print_step(
            "start", f"\n1. Three candidates campaign: {', '.join(NAMES)}.", candidates=NAMES
        )
        for name in NAMES:
            self._processes.start(name)
        for name in NAMES:
            self._wait_event("campaigning", name, since=0, at=0.0, seconds=_START_SECONDS)
        messages = self._processes.messages
        begun = min(message.at for message in messages if message.is_event("campaigning"))
        elected = self._wait_successor("an election", begun, None, _ANSWER_SECONDS)
        time.sleep(_TERM_SECONDS)  # time in which another one could be elected as well
        if [message for message in messages if message.is_event("elected")] != [elected]:
            raise ExpectationFailed("more than one candidate was elected")
        self._note("at the start", elected, elected.at - begun)
        self._print_step(
            "elected",
            f"   {elected.name} is elected, token {_token(elected)}. The others wait.",
            leader=elected.name,
            token=_token(elected),
        )
        return elected.name

    def _kill(self, leader: str) -> str:
        self._print_step(
            "kill",
            f"\n2. {leader} is killed (SIGKILL). It cannot resign: its lease has to expire, which"
            f"\n   takes at most {self._expiry:.1f} s.",
            leader=leader,
        )
        at = self._killed[leader] = self._processes.signal(leader, signal.SIGKILL)
        return self._succeed("after SIGKILL", leader, at, self._expiry + 1.0)

    def _pause(self, leader: str) -> str:
        self._print_step(
            "pause",
            f"\n3. {leader} is paused (SIGSTOP) until its lease has expired. It cannot notice.",
            leader=leader,
        )
        at = self._processes.signal(leader, signal.SIGSTOP)
        successor = self._succeed("after SIGSTOP", leader, at, self._expiry + 1.0)
        since = len(self._processes.messages)
        awake = self._processes.signal(leader, signal.SIGCONT)
        first = self._wait_message(
            f"{leader} wakes up", leader, since, awake, lambda message: "woke" in message.fields
        )
        if first.fields["is_leader"]:
            raise ExpectationFailed(f"{leader} read that it is leader after its pause")
        lost = self._wait_event("lost", leader, since=since, at=awake)
        self._wait_event("campaigning", leader, since=since, at=max(awake, lost.at))
        paused, reason = first.fields["woke"], lost.fields["reason"]
        self._print_step(
            "continue",
            f"   {leader} continues (SIGCONT). Its first reading, after a pause of {paused:.1f} s:"
            f" is_leader is False.\n   It reports: lost, {reason}. It campaigns again.",
            leader=leader,
            is_leader=False,
            paused=round(paused, 3),
            reason=reason,
        )
        return successor

    def _resign(self, leader: str) -> str:
        self._print_step(
            "resign",
            f"\n4. {leader} resigns (SIGUSR1). No candidate has to wait for a lease.",
            leader=leader,
        )
        since = len(self._processes.messages)
        at = self._processes.signal(leader, signal.SIGUSR1)
        self._wait_event("resigned", leader, since=since, at=at)
        return self._succeed("after a resign", leader, at, _ANSWER_SECONDS)

    def _sum_up(self) -> None:
        # Only here: the testing kit takes a while to import, and most commands do not need it.
        from ..testing.history import check_history

        messages = self._processes.messages
        history = history_of(messages, killed=self._killed, ended=set(NAMES) - self._killed.keys())
        if faults := check_history(history):
            raise ExpectationFailed(f"the election was not correct: {faults[0]}")
        seen = {interval.token for interval in history.intervals}
        if not {one.token for one in self._elections} <= seen:
            raise ExpectationFailed("an elected candidate never read that it is leader")
        table = [
            f"   {one.how:<15} {one.name:<8} {one.token:>6}  {_duration(one.seconds)}"
            for one in self._elections
        ]
        conclusion = (
            "All steps succeeded. There never were two leaders at one time (leaders read is_leader"
            f"\n{count_readings(messages):,} times), and each term had a larger token."
            f" It took {time.monotonic() - self._begun:.0f} s."
        )
        self._print_step(
            "summary",
            "\n".join(["\n   elected         leader    token  after", *table, "", conclusion]),
            elections=[
                {
                    "how": one.how,
                    "leader": one.name,
                    "token": one.token,
                    "seconds": round(one.seconds, 4),
                }
                for one in self._elections
            ],
            terms=len(history.intervals),
            overlaps=0,
        )

    # -- waiting ---------------------------------------------------------------------------------

    def _succeed(self, how: str, leader: str, at: float, seconds: float) -> str:
        """Wait for the next leader after `leader`, print and note it, and return its name."""
        elected = self._wait_successor(f"a successor of {leader}", at, leader, seconds)
        self._note(how, elected, elected.at - at)
        self._print_step(
            "elected",
            f"   {elected.name} is elected after {_duration(elected.at - at)},"
            f" token {_token(elected)}.",
            leader=elected.name,
            token=_token(elected),
            seconds=round(elected.at - at, 4),
        )
        return elected.name

    def _wait_successor(self, what: str, at: float, leader: str | None, seconds: float) -> Message:
        return self._processes.wait(
            what,
            seconds,
            lambda message: (
                message.is_event("elected") and message.name != leader and message.at > at
            ),
        )

    def _wait_event(
        self, event: str, name: str, *, since: int, at: float, seconds: float = _ANSWER_SECONDS
    ) -> Message:
        return self._wait_message(
            f"{name}: {event}", name, since, at, lambda message: message.is_event(event), seconds
        )

    def _wait_message(
        self,
        what: str,
        name: str,
        since: int,
        at: float,
        matches: Callable[[Message], bool],
        seconds: float = _ANSWER_SECONDS,
    ) -> Message:
        return self._processes.wait(
            what,
            seconds,
            lambda message: message.name == name and matches(message) and message.at >= at,
            since=since,
        )

    def _note(self, how: str, elected: Message, seconds: float) -> None:
        self._elections.append(_Election(how, elected.name, _token(elected), seconds))


def _token(message: Message) -> int:
    return int(message.fields["token"])


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1000:.1f} ms"
