"""The contract finds what authors of plugins do wrong about time, outages and expiry."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from leadership_core import StoreURL
from leadership_core.testing import Lab, contract_cases
from tests.examples import mistakes
from tests.examples.mistakes import Mistaken
from tests.servers.redis import RedisServer

MISTAKES: dict[type[Mistaken], str] = {
    mistakes.NoTimeLimit: "test_a_frozen_server_holds_up_no_call",
    mistakes.NoTimeLimitToConnect: "test_a_frozen_server_holds_up_no_call",
    mistakes.CloseAsksTheServer: "test_close_does_not_wait_for_a_frozen_server",
    mistakes.EveryErrorIsNotDone: "test_a_write_whose_answer_is_lost_may_have_been_made",
    mistakes.EveryErrorIsSessionLost: "test_a_server_that_is_away_ends_no_session",
    mistakes.EveryErrorIsARefusal: "test_a_server_that_is_away_ends_no_session",
    mistakes.ErrorsAreThoseOfTheClient: "test_a_server_that_is_away_ends_no_session",
    mistakes.WritesTwice: "test_a_write_is_sent_once",
    mistakes.ReadsFromACache: "test_a_frozen_server_holds_up_no_call",
    mistakes.RenewsWithoutAnAnswer: "test_a_server_that_is_away_ends_no_session",
    mistakes.ReadsEndNoSession: "test_reads_alone_end_an_expired_session",
    mistakes.ExpiryIsAFilter: "test_an_expiry_that_was_read_is_final",
    mistakes.WatchEndsWithItsConnection: "test_a_watch_outlives_every_outage",
    mistakes.WatchHidesOutages: "test_a_watch_reports_that_the_server_is_away",
}

CASES = {
    case.name: case
    for case in contract_cases(
        {"sessions", "global_revision", "fenced_writes", "bound_comparisons"}
    )
}


@pytest.fixture
def lab(redis: RedisServer) -> Callable[[type[Mistaken]], Lab]:
    """A lab with a Redis, a fault proxy and a store with a mistake."""

    def new(kind: Callable[[StoreURL], Mistaken]) -> Lab:
        return Lab(redis.url, ttl=1.0, plugin=kind)

    return new


@pytest.mark.parametrize("mistaken", MISTAKES, ids=lambda mistaken: mistaken.__name__)
def test_a_mistake_is_found(
    mistaken: type[Mistaken],
    lab: Callable[[type[Mistaken]], Lab],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the case that is there for it, with a message that says what was wrong."""
    monkeypatch.setattr("leadership_core.testing.heard.PATIENCE", 1.5)
    case = CASES[MISTAKES[mistaken]]
    with lab(mistaken) as one, pytest.raises(AssertionError) as failure:
        case.run(one)
    assert str(failure.value).strip(), "it does not say what was wrong"


@pytest.mark.parametrize("name", sorted(set(MISTAKES.values())))
def test_a_store_without_a_mistake_passes(name: str, lab: Callable[[type[Mistaken]], Lab]) -> None:
    """It is the mistake that is found, and not the way in which the stores here are made."""
    with lab(Mistaken) as one:
        CASES[name].run(one)


def test_all_mistakes_are_put_to_the_test() -> None:
    """No mistake is written down that no case looks for."""
    written = {
        member
        for member in vars(mistakes).values()
        if inspect.isclass(member) and issubclass(member, Mistaken) and member is not Mistaken
    }
    assert written == set(MISTAKES)
