"""The queue of one key: candidates of one store object have a claim one at a time, in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leadership_core.engine import messages
from leadership_core.engine.key_queue import KeyQueues


class User:
    """A candidate that notes what it gets."""

    def __init__(self, key: str = "key") -> None:
        self.key = key
        self.claim_confirmed = False
        self.awaits_answer = True
        self.got: list[type[messages.Input]] = []
        self.at_turn: Callable[[], object] = lambda: None

    def handle(self, message: messages.Input) -> None:
        self.got.append(type(message))
        if isinstance(message, messages.TurnGranted):
            self.at_turn()


@pytest.fixture
def queues() -> KeyQueues:
    return KeyQueues()


def joined(queues: KeyQueues, number: int) -> tuple[list[User], list[int]]:
    users = [User() for _ in range(number)]
    return users, [queues.join(user) for user in users]


def holders(queues: KeyQueues, users: list[User]) -> list[int]:
    return [number for number, user in enumerate(users) if queues.has_turn(user)]


def test_turn_goes_from_one_to_the_next_in_order(queues: KeyQueues) -> None:
    """Each gets it once the one before has left."""
    users, places = joined(queues, 4)
    assert holders(queues, users) == [0]
    for number in range(3):
        queues.leave(users[number], places[number])
        assert holders(queues, users) == [number + 1]
    assert all(user.got == [messages.TurnGranted] for user in users)


def test_candidate_that_leaves_before_its_turn_is_left_out(queues: KeyQueues) -> None:
    """Its second leave changes nothing."""
    users, places = joined(queues, 3)
    for _ in range(2):
        queues.leave(users[1], places[1])
    queues.leave(users[0], places[0])
    assert holders(queues, users) == [2]
    assert users[1].got == []


def test_candidate_returns_to_its_place(queues: KeyQueues) -> None:
    """One whose session was replaced was not elected, and keeps its place; a new one joins at the end."""
    users, places = joined(queues, 3)
    queues.leave(users[1], places[1])
    late = User()
    queues.join(late)
    assert queues.join(users[1], places[1]) == places[1]
    order = []
    for user in (users[0], users[1], users[2], late):
        order.append(queues.has_turn(user))
        queues.leave(user, 0)
    assert order == [True] * 4


def test_queue_of_each_key_is_its_own_and_is_forgotten(queues: KeyQueues) -> None:
    """Programs may take a lock for each job."""
    users = [User(str(number % 100)) for number in range(200)]
    places = [queues.join(user) for user in users]
    assert all(queues.has_turn(user) for user in users[:100])
    assert [queues.waiting(str(number)) for number in range(100)] == [1] * 100
    for user, place in zip(users, places, strict=True):
        queues.leave(user, place)
    assert not queues._turns
    assert not queues._waiting


def test_turn_passes_many_candidates_that_leave_at_once(queues: KeyQueues) -> None:
    """Ten thousand calls inside each other would exceed the stack, so it is a loop."""
    users, places = joined(queues, 10_000)
    for user, place in zip(users[1:-1], places[1:-1], strict=True):
        user.at_turn = lambda user=user, place=place: queues.leave(user, place)  # type: ignore[misc]  # mypy infers no lambda with defaults
    queues.leave(users[0], places[0])
    assert holders(queues, users) == [9_999]


def test_candidate_that_fails_at_its_turn_keeps_it(queues: KeyQueues) -> None:
    """It recovers by itself, and the one that has left is not disturbed."""
    users, places = joined(queues, 3)

    def fail() -> None:
        raise MemoryError

    users[1].at_turn = fail
    queues.leave(users[0], places[0])
    assert holders(queues, users) == [1]
    queues.leave(users[1], places[1])
    assert holders(queues, users) == [2]


def test_answer_is_passed_on_to_each_waiting_candidate_once(queues: KeyQueues) -> None:
    """Those that wait get it with the first answer of the store, later ones when they join."""
    users, _ = joined(queues, 3)
    assert [user.got for user in users[1:]] == [[], []]
    users[0].claim_confirmed = True
    for _ in range(2):
        queues.notify_waiting(users[0])
    assert [user.got for user in users[1:]] == [[messages.AnotherAhead]] * 2

    late, answered = User(), User()
    answered.awaits_answer = False
    queues.join(late)
    queues.join(answered)
    assert late.got == [messages.AnotherAhead]
    assert answered.got == []


def test_answer_is_passed_on_from_the_holder_of_the_turn_only(queues: KeyQueues) -> None:
    """Not from one that has left the queue."""
    users, places = joined(queues, 3)
    queues.leave(users[0], places[0])
    users[0].claim_confirmed = True
    queues.notify_waiting(users[0])
    assert users[2].got == []
