"""The early query: a status read that the watch of a waiting claim starts by itself.

When the claim before it has gone, the next candidate is elected after one read. Without this, the
thread of the watch wakes the scheduler's, and that one wakes the thread that reads. Here the thread of
the watch hands the read over at once. The state machine decides as before: its query is asked for when
the answer has come, and is answered with it. Where the report itself tells the status, there is no read.

This is the same as a query that the state machine sends a moment later. The read is sent after the
report of the watch, as that query would be; of the answers to a query that was sent before, none is used.
Only a claim that waits is read early, for which the store is asked nothing else at the moment, and no
oftener than its rate limiter allows.
"""

from __future__ import annotations

from collections.abc import Callable

from ..backend.protocols import Claim
from . import messages
from .session_keeper import SessionKeeper

__all__ = ["EarlyQuery"]

Outcome = messages.StatusReceived | messages.Failed | None


class _Prepared:
    """One read that may be started once, by any thread."""

    __slots__ = ("_unstarted", "claim", "keeper", "outcome", "started_again")

    def __init__(self, keeper: SessionKeeper, claim: Claim) -> None:
        self.keeper, self.claim = keeper, claim
        self.started_again = False  # there was another report since it was started
        self.outcome: Outcome = None
        self._unstarted: list[None] = [None]  # the one thread that pops it starts the read

    @property
    def started(self) -> bool:
        return not self._unstarted

    def start(self) -> bool:
        try:
            self._unstarted.pop()
        except IndexError:
            return False
        return True


class EarlyQuery:
    """The early queries of one candidate; used in the scheduler's thread, except for `start`.

    Args:
        read: reads the status of a claim, and returns the outcome; called in a thread for requests.
        known: returns the outcome that a read would have, if the watch has told it, or None; called in
            the thread of the watch.
        submit: runs a task in such a thread.
        post: runs a task in the scheduler's thread.
        on_change: called when the state machine should ask for the status.
    """

    __slots__ = ("_answer", "_known", "_on_change", "_post", "_prepared", "_read", "_submit")

    def __init__(
        self,
        read: Callable[[SessionKeeper, Claim], Outcome],
        submit: Callable[[Callable[[], None]], None],
        post: Callable[[Callable[[], None]], object],
        on_change: Callable[[], None],
        known: Callable[[Claim], Outcome] = lambda _: None,
    ) -> None:
        self._read, self._submit, self._post, self._on_change = read, submit, post, on_change
        self._known = known
        self._prepared: _Prepared | None = None
        self._answer: _Prepared | None = None

    def prepare(self, keeper: SessionKeeper | None, claim: Claim | None) -> None:
        """Let the next report of the watch start a read of this claim; None: of no claim."""
        prepared = self._prepared
        if claim is None or keeper is None:
            # A read that is under way is of no use: a query of the state machine that was sent
            # after it is, or the claim is being withdrawn.
            self._prepared = None
        elif prepared is None or prepared.claim is not claim or prepared.keeper is not keeper:
            self._prepared = _Prepared(keeper, claim)

    def start(self, claim: Claim) -> bool:
        """Read the status if that was prepared; from any thread. False if the caller has to report."""
        prepared = self._prepared
        if prepared is None or prepared.claim is not claim or not prepared.start():
            return False
        prepared.outcome = self._known(claim)
        if prepared.outcome is None:
            self._submit(lambda: self._run(prepared))
        else:
            self._post(lambda: self._finish(prepared))
        return True

    def changed(self) -> None:
        """Take in a report of the watch that has started no read."""
        prepared = self._prepared
        if prepared is not None and prepared.started:
            prepared.started_again = True
        else:
            self._on_change()

    def take(self, keeper: SessionKeeper, ticket: int, claim: Claim) -> messages.Input | None:
        """Return the answer for the state machine's query, if it has just come; else it is sent."""
        answer, self._answer = self._answer, None
        if answer is None or answer.claim is not claim or answer.keeper is not keeper:
            return None
        assert answer.outcome is not None
        return answer.outcome._replace(ticket=ticket)

    def _run(self, prepared: _Prepared) -> None:
        prepared.outcome = self._read(prepared.keeper, prepared.claim)
        self._post(lambda: self._finish(prepared))

    def _finish(self, prepared: _Prepared) -> None:
        if self._prepared is not prepared:
            return
        self._prepared = None
        if prepared.outcome is not None:  # else the session is lost, which its keeper reports
            self._answer = prepared
            try:
                self._on_change()
            finally:
                self._answer = None
        if prepared.started_again:
            self._on_change()
