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
        self.may_be_followed = False
        self.session = object()
        self.follows = True
        self.got: list[type[messages.Input]] = []
        self.at_turn: Callable[[], object] = lambda: None

    def session_beside(self, other: object) -> object:
        return self.session if self.follows else None

    def handle(self, message: messages.Input) -> None:
        self.got.append(type(message))
        if isinstance(message, messages.TurnGranted):
            self.at_turn()


class Later:
    """The tasks that the queues have left for later."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []

    def call_later(self, seconds: float, task: Callable[[], None]) -> None:
        assert 0 < seconds <= 0.1
        self.tasks.append(task)

    def run(self) -> int:
        """Run those that are there now; returns how many."""
        tasks = self.tasks[:]
        self.tasks.clear()
        for task in tasks:
            task()
        return len(tasks)


@pytest.fixture
def queues() -> KeyQueues:
    return KeyQueues()


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def pairs(later: Later) -> KeyQueues:
    """Queues with a second place."""
    return KeyQueues(later.call_later)


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


# -- the second place ----------------------------------------------------------------------


def led(queues: KeyQueues, number: int) -> tuple[list[User], list[int]]:
    """Candidates of which the first leads."""
    users, places = joined(queues, number)
    users[0].may_be_followed = True
    queues.offer_second("key")
    return users, places


def test_next_candidate_gets_the_second_place_once_the_first_leads(
    pairs: KeyQueues, later: Later
) -> None:
    """No earlier, and not at once; the third waits."""
    users, _ = joined(pairs, 3)
    pairs.offer_second("key")
    assert later.run() == 0
    users[0].may_be_followed = True
    pairs.offer_second("key")
    assert holders(pairs, users) == [0]
    assert later.run() == 1
    assert holders(pairs, users) == [0, 1]
    pairs.offer_second("key")
    assert later.run() == 0
    assert holders(pairs, users) == [0, 1]
    assert users[2].got == []


def test_candidate_that_joins_while_another_leads_gets_the_second_place(
    pairs: KeyQueues, later: Later
) -> None:
    """However many join, it is offered once."""
    users, _ = led(pairs, 1)
    users += joined(pairs, 3)[0]
    assert later.run() == 1
    assert holders(pairs, users) == [0, 1]


def test_second_candidate_is_the_first_when_that_has_left(pairs: KeyQueues, later: Later) -> None:
    """The next one gets the second place when it leads; each gets the turn once."""
    users, places = led(pairs, 4)
    later.run()
    pairs.leave(users[0], places[0])
    later.run()
    assert holders(pairs, users) == [1]
    users[1].may_be_followed = True
    pairs.offer_second("key")
    later.run()
    assert holders(pairs, users) == [1, 2]
    assert [user.got for user in users] == [[messages.TurnGranted]] * 3 + [[]]


def test_second_candidate_that_leads_before_the_first_has_left_is_followed(
    pairs: KeyQueues, later: Later
) -> None:
    """Its watch may report before the withdrawal is answered; there are never three."""
    users, places = led(pairs, 3)
    later.run()
    users[0].may_be_followed, users[1].may_be_followed = False, True
    pairs.offer_second("key")
    later.run()
    assert holders(pairs, users) == [0, 1]
    pairs.leave(users[0], places[0])
    later.run()
    assert holders(pairs, users) == [1, 2]


def test_second_place_goes_to_the_next_when_its_candidate_leaves(
    pairs: KeyQueues, later: Later
) -> None:
    """And to it again when it returns."""
    users, places = led(pairs, 3)
    later.run()
    for _ in range(2):
        pairs.leave(users[1], places[1])
    later.run()
    assert holders(pairs, users) == [0, 2]
    assert pairs.join(users[1], places[1]) == places[1]
    later.run()
    assert holders(pairs, users) == [0, 2]
    pairs.leave(users[2], places[2])
    later.run()
    assert holders(pairs, users) == [0, 1]


def test_second_place_is_not_given_without_a_session(pairs: KeyQueues, later: Later) -> None:
    """It is offered again when there is one, and the turn is passed on as without it."""
    users, places = led(pairs, 3)
    users[1].follows = False
    later.run()
    assert holders(pairs, users) == [0]
    users[1].follows = True
    pairs.offer_second("key")
    later.run()
    assert holders(pairs, users) == [0, 1]
    users[2].follows = False
    for user, place in zip(users[:2], places[:2], strict=True):
        pairs.leave(user, place)
    assert holders(pairs, users) == [2]


def test_second_place_is_not_given_when_the_first_leads_no_more(
    pairs: KeyQueues, later: Later
) -> None:
    """Its claim may be on its way out when the offer comes."""
    users, _ = led(pairs, 2)
    users[0].may_be_followed = False
    later.run()
    assert holders(pairs, users) == [0]


def test_there_is_no_second_place_without_order(queues: KeyQueues) -> None:
    """As in an engine whose store does not order its claims."""
    users, _ = led(queues, 2)
    assert holders(queues, users) == [0]


def test_second_candidate_confirms_the_answer_to_those_that_wait(
    pairs: KeyQueues, later: Later
) -> None:
    """Also to those that join later."""
    users, _ = led(pairs, 3)
    later.run()
    pairs.notify_waiting(users[1])
    assert users[2].got == [messages.AnotherAhead]
    users[1].claim_confirmed = True
    late = User()
    pairs.join(late)
    assert late.got == [messages.AnotherAhead]


def test_queue_with_two_places_is_forgotten(pairs: KeyQueues, later: Later) -> None:
    """In whichever order they leave."""
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
        users, places = led(pairs, 3)
        later.run()
        for number in order:
            pairs.leave(users[number], places[number])
        later.run()
        left = pairs._turns, pairs._seconds, pairs._waiting, pairs._offered
        assert not any(left)
