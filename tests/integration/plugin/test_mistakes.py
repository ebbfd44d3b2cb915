"""The contract on plugins with typical mistakes about time, outages and expiry."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from leadership_core import StoreURL
from leadership_core.testing import Sandbox, contract_cases
from tests.integration.plugin import mistakes
from tests.integration.plugin.mistakes import Mistaken
from tests.support.servers.redis import RedisServer

MISTAKES: dict[type[Mistaken], str] = {
    mistakes.NoTimeLimit: "test_calls_to_a_frozen_server_end_within_their_timeout",
    mistakes.NoTimeLimitToConnect: "test_calls_to_a_frozen_server_end_within_their_timeout",
    mistakes.CloseAsksTheServer: "test_close_does_not_wait_for_a_frozen_server",
    mistakes.EveryErrorIsNotApplied: "test_put_without_an_answer_raises_store_unavailable",
    mistakes.EveryErrorIsSessionLost: "test_connection_errors_end_no_session",
    mistakes.EveryErrorIsARefusal: "test_connection_errors_end_no_session",
    mistakes.ErrorsAreThoseOfTheClient: "test_connection_errors_end_no_session",
    mistakes.WritesTwice: "test_put_is_sent_once",
    mistakes.ReadsFromACache: "test_calls_to_a_frozen_server_end_within_their_timeout",
    mistakes.RenewsWithoutAnAnswer: "test_connection_errors_end_no_session",
    mistakes.ReadsEndNoSession: "test_expired_session_is_not_read",
    mistakes.ExpiryIsAFilter: "test_expired_session_cannot_be_renewed_after_a_read",
    mistakes.WatchEndsWithItsConnection: "test_watch_continues_after_every_outage",
    mistakes.WatchHidesOutages: "test_watch_reports_an_unreachable_server",
}

CASES = {
    case.name: case
    for case in contract_cases(
        {"sessions", "global_revision", "fenced_writes", "bound_comparisons"}
    )
}


@pytest.fixture
def sandbox(redis: RedisServer) -> Callable[[type[Mistaken]], Sandbox]:
    """A sandbox with a Redis, a fault proxy and a store with a mistake."""

    def new(kind: Callable[[StoreURL], Mistaken]) -> Sandbox:
        return Sandbox(redis.url, ttl=1.0, plugin=kind)

    return new


@pytest.mark.parametrize("mistaken", MISTAKES, ids=lambda mistaken: mistaken.__name__)
def test_contract_finds_a_mistake_of_a_plugin(
    mistaken: type[Mistaken],
    sandbox: Callable[[type[Mistaken]], Sandbox],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The case for its mistake fails, with a message that says what was wrong."""
    monkeypatch.setattr("leadership_core.testing.recorders.DEFAULT_WAIT", 1.5)
    case = CASES[MISTAKES[mistaken]]
    with sandbox(mistaken) as one, pytest.raises(AssertionError) as failure:
        case.run(one)
    assert str(failure.value).strip(), "it does not say what was wrong"


@pytest.mark.parametrize("name", sorted(set(MISTAKES.values())))
def test_contract_passes_the_plugin_without_a_mistake(
    name: str, sandbox: Callable[[type[Mistaken]], Sandbox]
) -> None:
    """So the failures come from the mistakes, not from the base class."""
    with sandbox(Mistaken) as one:
        CASES[name].run(one)


def test_every_mistake_is_tested() -> None:
    """Every class with a mistake is listed with its case."""
    written = {
        member
        for member in vars(mistakes).values()
        if inspect.isclass(member) and issubclass(member, Mistaken) and member is not Mistaken
    }
    assert written == set(MISTAKES)
