"""Main loop of `leadership run`: between its candidate, its child, its signals and its terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import threading
from contextlib import ExitStack

from ..backend import clock
from ..candidate import Candidate
from ..errors import LeadershipError, NotElected
from ..events import CandidateEvent, Elected, Lost, Resigned, StoreDown
from ..term import Term
from .end_times import EndTimes, end_times
from .guarded_child import GuardedChild
from .mailbox import Mailbox
from .opening import StartupTimeout
from .run_messages import RunMessages
from .supervisor import (
    ENDING_SIGNALS,
    Abort,
    CandidateEnded,
    ChildEnded,
    ChildRefused,
    ChildStarted,
    ChildStopped,
    Command,
    EndChild,
    Finish,
    ForwardSignal,
    GuardLost,
    Message,
    Resign,
    SignalReceived,
    StartChild,
    Supervisor,
    TermBegun,
    TermOver,
)
from .terminal import Terminal

__all__ = ["RunLoop"]

_LOOKS = 20  # for each ttl: how often the guard is given the present deadline
_INTERRUPTS = {signal.SIGINT, signal.SIGQUIT}
_LONGEST_LOOK, _SHORTEST_LOOK = 0.5, 0.02  # seconds


class RunLoop:
    """Waits for messages, and performs what the supervisor commands; in the main thread.

    Args:
        candidate: the candidate.
        child: the child.
        terminal: the terminal.
        mailbox: receives signals.
        messages: prints what happens.
        timeout: ends it if the store gives no answer at the beginning.
        grace: seconds between telling the child to end and killing it.
        once: whether it ends after the first term.
    """

    def __init__(
        self,
        candidate: Candidate,
        child: GuardedChild,
        terminal: Terminal,
        mailbox: Mailbox[CandidateEvent | CandidateEnded],
        messages: RunMessages,
        timeout: StartupTimeout,
        *,
        grace: float,
        once: bool,
    ) -> None:
        self._candidate, self._child = candidate, child
        self._terminal, self._mailbox, self._messages = terminal, mailbox, messages
        self._timeout, self._grace = timeout, grace
        self._interval = max(_SHORTEST_LOOK, min(_LONGEST_LOOK, candidate.ttl / _LOOKS))
        self._supervisor = Supervisor(once=once)
        self._latest: Term | None = None  # the term that began last
        self._term: Term | None = None  # the child's term
        self._work = ExitStack()  # holds the release of that term back
        self._group = 0  # the child's process group
        self._has_terminal = False
        self._is_in_foreground = self._has_hung_up = self._has_signal = False
        self._finish: Finish | None = None

    def run(self) -> Finish:
        """Run to the end; the child has ended then."""
        # The only thread: to start one when there is no memory may wait for it without end.
        try:
            threading.Thread(target=self._follow, name="leadership-run-events", daemon=True).start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error
        while self._finish is None:
            self._wait()
            self._look()
            for report in [*self._child.read(), *self._child.take_loss()]:
                self._handle(report)
            for message in self._mailbox.take():
                if isinstance(message, int):
                    self._on_signal(message)
                elif isinstance(message, CandidateEnded):
                    self._handle(message)
                else:
                    self._on_event(message)
            self._look_at_terminal()
        return self._finish

    def _follow(self) -> None:
        error: Exception | None = None
        try:
            for event in self._candidate.events():
                self._mailbox.post(event)
        except Exception as failure:  # noqa: BLE001 - raised in the main thread, once the child has ended
            error = failure
        self._mailbox.post(CandidateEnded(error))

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._mailbox, select.POLLIN)
        is_guarded = self._child.fileno() >= 0
        if is_guarded:
            poll.register(self._child, select.POLLIN)
        seconds = None
        if self._terminal.exists:
            poll.register(self._terminal, 0)
            seconds = _LONGEST_LOOK  # nothing reports that its shell has ended
        if self._supervisor.has_child:
            seconds = self._interval if is_guarded else _SHORTEST_LOOK
        poll.poll(None if seconds is None else seconds * 1000)

    def _look(self) -> None:
        """Give the guard the present deadline, or end the child of a term that is over."""
        self._child.check_guard()
        if self._supervisor.has_child:
            times = self._end_times(self._term)
            if times is not None:
                self._child.renew(times)
            elif self._term is not None:
                self._handle(TermOver(self._term.token))

    def _look_at_terminal(self) -> None:
        """End as at SIGHUP if the terminal has gone: a shell that was killed passes none on.

        Only the process group in the foreground gets one from the system, and that is the child's.
        In the background it goes on, as every process does.
        """
        if not self._terminal.has_hung_up():
            is_ours = self._terminal.is_ours or self._terminal.belongs_to(self._group)
            self._is_in_foreground = is_ours
            return
        self._terminal.close()
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        if self._is_in_foreground and not self._has_signal and not ignored:
            self._has_hung_up = True
            self._handle(SignalReceived(signal.SIGHUP))

    def _end_times(self, term: Term | None) -> EndTimes | None:
        if term is None:
            return None
        # The clock is read first: if this process is stopped in between, the deadline is too early.
        now = clock.now()
        left = term.remaining()
        lease = term._state.lease  # noqa: SLF001 - the ttl in force is no public attribute
        if left <= 0:
            return None
        return end_times(now + left, lease.effective_ttl, lease.max_validity, self._grace)

    # -- messages ----------------------------------------------------------------------------

    def _on_event(self, event: CandidateEvent) -> None:
        self._messages.show_event(event)
        match event:
            case Elected(term):
                self._timeout.succeeded()
                self._latest = term
                self._handle(TermBegun(term.token))
            case Lost() | Resigned():
                self._handle(TermOver())
            case StoreDown(error):
                self._timeout.failed(error)
            case _:
                pass

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCONT:
            self._continue_child()
        elif number == signal.SIGTSTP:
            if self._supervisor.has_child:
                self._child.forward(number)
            self._stop()
        elif number != signal.SIGHUP or not self._has_hung_up:  # no second signal for one hang-up
            self._has_signal |= number in ENDING_SIGNALS
            self._handle(SignalReceived(number))

    def _handle(self, message: Message) -> None:
        self._messages.show(message, None if self._term is None else self._term.token)
        if isinstance(message, ChildStarted):
            self._group = message.pid
        if isinstance(message, ChildStopped):
            self._on_child_stopped(message.number)
        if isinstance(message, ChildEnded | GuardLost) and self._terminal.belongs_to(self._group):
            self._terminal.take_back(self._group)
            if isinstance(message, ChildEnded) and -message.code in _INTERRUPTS:
                # Ctrl-C reached the child alone, but a script that runs this is meant, too.
                self._terminal.signal_others(-message.code)
        for command in self._supervisor.step(message):
            self._perform(command)
        if not self._supervisor.has_child:
            self._group = 0
            self.end_work()

    def _perform(self, command: Command) -> None:
        match command:
            case StartChild(token):
                self._start_child(token)
            case EndChild(number, kill):
                self._child.end(number, 0.0 if kill else self._grace)
            case ForwardSignal(number):
                self._child.forward(number)
            case Resign():
                self._resign()
            case Finish():
                self._finish = command
            case Abort(code):
                os._exit(code)

    def _start_child(self, token: int) -> None:
        self._term = self._latest
        try:
            term = self._work.enter_context(self._candidate.working())
        except NotElected:
            term = None  # this process was held up since the election
        times = self._end_times(term)
        if times is None or term is not self._term:
            self._handle(ChildRefused())
            return
        self._group = 0
        self._has_terminal = self._terminal.is_for_child()
        self._child.start(token, times, foreground=self._has_terminal)

    def _resign(self) -> None:
        # It waits neither for the store, since this thread is still at work for the term, nor for
        # the end of this work, which comes next.
        with contextlib.suppress(LeadershipError):  # closed meanwhile
            self._candidate.resign()

    def end_work(self) -> None:
        """Let the store release the claim: there is no child."""
        with contextlib.suppress(LeadershipError):  # lost; or closed meanwhile
            self._work.close()

    # -- job control -------------------------------------------------------------------------

    def _on_child_stopped(self, number: int) -> None:
        if not self._terminal.exists:
            return
        wants_terminal = number in {signal.SIGTTIN, signal.SIGTTOU}
        if wants_terminal and self._terminal.is_ours:
            self._has_terminal = True
            self._continue_child()
        elif wants_terminal or self._terminal.belongs_to(self._group):
            self._terminal.take_back(self._group)
            self._stop()

    def _stop(self) -> None:
        self._terminal.stop_job()
        self._continue_child()

    def _continue_child(self) -> None:
        """Continue the child after this process was continued; a term that is over ends it instead."""
        self._look()
        if self._supervisor.has_child and self._group:
            if self._has_terminal and self._terminal.is_ours:
                self._terminal.give(self._group)
            self._child.forward(signal.SIGCONT)
