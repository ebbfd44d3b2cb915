"""The queues of one store's candidates: of those for one key, one at a time may make a claim, or two.

The others would only wait at the store, each with a session and a thread, and each release would wake
all of them. Here a waiting candidate costs an entry in a list. Where the store keeps a queue of claims, the
next candidate has a claim beside the leader's: then a hand-over in the process is one deletion. This
module has no clock, no thread and no I/O.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial
from typing import Protocol

from . import messages
from .executors import log_exception

__all__ = ["KeyQueues", "QueueUser"]

_SOON = 0.01  # seconds from an election, or another change, to the claim of the next candidate
_JOINED = 0.1  # that is new: longer than a try for a lock that is held takes, which makes no claim

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

    @property
    def may_be_followed(self) -> bool:
        """Whether it leads, and the election elects the claims in the order in which they were made."""

    @property
    def session(self) -> object:
        """What its claim is bound to, or its next one; None without that."""

    def session_beside(self, other: QueueUser | None) -> object:
        """A session with which it can make a claim beside that of the other, now; None without one.

        If there is one later, `KeyQueues.offer_second` is called.
        """

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
    """The candidates with the turn for each key, and those that wait; used in the scheduler's thread only.

    A candidate has the turn from `join`, or a later `TurnGranted`, until `leave`. The first of a key may
    make a claim at any time. Where the election orders its claims, and the first leads, the next one
    gets the second place, and is the first once the first has left. Each key is forgotten with its last candidate.

    Args:
        call_later: calls a function in so many seconds, in the same thread. Without it, there is no second place.
    """

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], object] | None = None
    ) -> None:
        self._turns: dict[str, QueueUser] = {}  # the first of each key
        self._seconds: dict[str, QueueUser] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._numbers = itertools.count()
        self._passing: set[str] = set()  # keys whose turn is being passed on further down the stack
        self._call_later = call_later
        self._offered: set[str] = set()  # keys whose second place will be offered

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
        else:
            if user.awaits_answer:
                waiting.unanswered[place] = user
                for one in (holder, self._seconds.get(user.key)):
                    if one is not None and one.claim_confirmed:
                        self.notify_waiting(one)
            self.offer_second(user.key, _JOINED)
        return place

    def leave(self, user: QueueUser, place: int) -> None:
        """Let the candidate wait no more, or pass its turn on; no effect if it is not in the queue."""
        waiting = self._waiting.get(user.key)
        if self._turns.get(user.key) is user:
            del self._turns[user.key]
            if user.key in self._seconds:
                self._turns[user.key] = self._seconds.pop(user.key)
                self.offer_second(user.key)  # it may lead already
            else:
                self._pass_on(user.key)
        elif self._seconds.get(user.key) is user:
            del self._seconds[user.key]
            self.offer_second(user.key)
        elif waiting is not None and waiting.users.get(place) is user:
            del waiting.places[bisect_left(waiting.places, place)]
            del waiting.users[place]
            waiting.unanswered.pop(place, None)
            self._forget_empty(user.key)

    def has_turn(self, user: QueueUser) -> bool:
        """Whether it is the candidate's turn."""
        return self._turns.get(user.key) is user or self._seconds.get(user.key) is user

    def is_taken(self, user: QueueUser) -> bool:
        """Whether another candidate is the first."""
        return self._turns.get(user.key, user) is not user

    def beside(self, user: QueueUser) -> QueueUser | None:
        """The other candidate of the key with the turn, if there is one."""
        first, second = self._turns.get(user.key), self._seconds.get(user.key)
        return second if first is user else first

    def offer_second(self, key: str, seconds: float = _SOON) -> None:
        """Give the second place to the next candidate in so many seconds, if the first leads then.

        Not at once, since the next leader is to be elected before others enter.
        """
        if self._call_later is None or key in self._offered or not self._has_free_second(key):
            return
        self._call_later(seconds, partial(self._grant_second, key))
        self._offered.add(key)

    def notify_waiting(self, holder: QueueUser) -> None:
        """Report to the waiting candidates, to each once, that the store has confirmed the holder's claim."""
        waiting = self._waiting.get(holder.key)
        if waiting is None or not self.has_turn(holder):
            return
        unanswered, waiting.unanswered = waiting.unanswered, {}
        for user in unanswered.values():
            self._send(user, messages.AnotherAhead())

    def waiting(self, key: str) -> int:
        """How many candidates wait for their turn."""
        waiting = self._waiting.get(key)
        return 0 if waiting is None else len(waiting.places)

    def _has_free_second(self, key: str) -> bool:
        first = self._turns.get(key)
        # As long as the first does not lead, its claim may not be made, or be on its way out.
        may_be_followed = first is not None and first.may_be_followed
        return may_be_followed and key in self._waiting and key not in self._seconds

    def _grant_second(self, key: str) -> None:
        self._offered.discard(key)
        if not self._has_free_second(key):
            return
        waiting = self._waiting[key]
        if waiting.users[waiting.places[0]].session_beside(self._turns[key]) is not None:
            user = self._seconds[key] = self._take_next(key)
            self._send(user, messages.TurnGranted())

    def _pass_on(self, key: str) -> None:
        """Give the turn to the first candidate; a loop, since that one may leave at once."""
        if key in self._passing:
            return
        self._passing.add(key)
        try:
            while key not in self._turns and key in self._waiting:
                user = self._turns[key] = self._take_next(key)
                self._send(user, messages.TurnGranted())
        finally:
            self._passing.discard(key)

    def _take_next(self, key: str) -> QueueUser:
        """Let the first of those that wait do so no more."""
        waiting = self._waiting[key]
        place = waiting.places.pop(0)
        user = waiting.users.pop(place)
        waiting.unanswered.pop(place, None)
        self._forget_empty(key)
        return user

    def _forget_empty(self, key: str) -> None:
        if not self._waiting[key].places:
            del self._waiting[key]

    def _send(self, user: QueueUser, message: messages.Input) -> None:
        try:
            user.handle(message)
        except BaseException:  # noqa: BLE001  # it recovers by itself; the others go on
            log_exception(log, "engine.task_failed")
