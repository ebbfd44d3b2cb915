"""The queues of one store's candidates: of those for one key, one at a time may make a claim.

The others would only wait at the store, each with a session and a thread, and each release would wake
all of them. Here a waiting candidate costs an entry in a list. This module has no clock, no thread and no I/O.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_left, insort
from typing import Protocol

from . import messages
from .executors import log_exception

__all__ = ["KeyQueues", "QueueUser"]

log: logging.Logger = logging.getLogger("leadership.candidate")


class QueueUser(Protocol):
    """A candidate, as the queues know it: `CandidateDriver`, which imports this module."""

    key: str

    @property
    def claim_confirmed(self) -> bool:
        """Whether the store has answered that its claim leads, or waits, and still answers."""

    @property
    def awaits_answer(self) -> bool:
        """Whether it has no answer of the store yet: neither its own nor that of the one with the turn."""

    def handle(self, message: messages.Input) -> None:
        """Step the candidate's state machine; may lead to calls of these queues."""


class _Waiting:
    """The candidates that wait for their turn, in order."""

    __slots__ = ("places", "unanswered", "users")

    def __init__(self) -> None:
        self.places: list[int] = []  # sorted
        self.users: dict[int, QueueUser] = {}
        self.unanswered: dict[int, QueueUser] = {}  # those among them that await an answer


class KeyQueues:
    """The candidate with the turn for each key, and those that wait; used in the scheduler's thread only.

    A candidate has the turn from `join`, or a later `TurnGranted`, until `leave`. Each key is forgotten
    with its last candidate.
    """

    def __init__(self) -> None:
        self._turns: dict[str, QueueUser] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._numbers = itertools.count()
        self._passing: set[str] = set()  # keys whose turn is being passed on further down the stack

    def join(self, user: QueueUser, place: int | None = None) -> int:
        """Let the candidate wait; it gets `TurnGranted` when it is its turn, maybe at once.

        Args:
            user: the candidate, which must not be in the queue.
            place: what an earlier `join` has returned, to get that place back; None for the end.

        Returns:
            Its place: lower ones get the turn first.
        """
        if place is None:
            place = next(self._numbers)
        waiting = self._waiting.setdefault(user.key, _Waiting())
        insort(waiting.places, place)
        waiting.users[place] = user
        holder = self._turns.get(user.key)
        if holder is None:
            self._pass_on(user.key)
        elif user.awaits_answer:
            waiting.unanswered[place] = user
            if holder.claim_confirmed:
                self.notify_waiting(holder)
        return place

    def leave(self, user: QueueUser, place: int) -> None:
        """Let the candidate wait no more, or pass its turn on; no effect if it is not in the queue."""
        waiting = self._waiting.get(user.key)
        if self._turns.get(user.key) is user:
            del self._turns[user.key]
            self._pass_on(user.key)
        elif waiting is not None and waiting.users.get(place) is user:
            del waiting.places[bisect_left(waiting.places, place)]
            del waiting.users[place]
            waiting.unanswered.pop(place, None)
            self._forget_empty(user.key)

    def has_turn(self, user: QueueUser) -> bool:
        """Whether it is the candidate's turn."""
        return self._turns.get(user.key) is user

    def is_taken(self, user: QueueUser) -> bool:
        """Whether it is the turn of another candidate."""
        return self._turns.get(user.key, user) is not user

    def notify_waiting(self, holder: QueueUser) -> None:
        """Report to the waiting candidates, to each once, that the store has confirmed the holder's claim."""
        waiting = self._waiting.get(holder.key)
        if waiting is None or self._turns.get(holder.key) is not holder:
            return
        unanswered, waiting.unanswered = waiting.unanswered, {}
        for user in unanswered.values():
            self._send(user, messages.AnotherAhead())

    def waiting(self, key: str) -> int:
        """How many candidates wait for their turn."""
        waiting = self._waiting.get(key)
        return 0 if waiting is None else len(waiting.places)

    def _pass_on(self, key: str) -> None:
        """Give the turn to the first candidate; a loop, since that one may leave at once."""
        if key in self._passing:
            return
        self._passing.add(key)
        try:
            while key not in self._turns and (waiting := self._waiting.get(key)) is not None:
                place = waiting.places.pop(0)
                user = self._turns[key] = waiting.users.pop(place)
                waiting.unanswered.pop(place, None)
                self._forget_empty(key)
                self._send(user, messages.TurnGranted())
        finally:
            self._passing.discard(key)

    def _forget_empty(self, key: str) -> None:
        if not self._waiting[key].places:
            del self._waiting[key]

    def _send(self, user: QueueUser, message: messages.Input) -> None:
        try:
            user.handle(message)
        except BaseException:  # noqa: BLE001  # it recovers by itself; the others go on
            log_exception(log, "engine.task_failed")
