"""Checks of errors and events under any input."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hypothesis import HealthCheck, settings

from leadership_core.errors import LeadershipError

__all__ = ["SECRET", "check_error", "check_event_order", "check_no_secret", "examples"]

SECRET = "Xk7secretQz"


def examples(few: int) -> settings:
    """Settings for so many examples, times $LEADERSHIP_FUZZ; without it, the same in each run."""
    times = int(os.environ.get("LEADERSHIP_FUZZ", "1"))
    return settings(
        max_examples=few * times,
        derandomize=times == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes, as a traceback shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def check_no_secret(error: BaseException) -> None:
    for one in chain(error):
        assert SECRET not in f"{one} {one!r}", f"{type(one).__name__} shows the secret: {one}"


def check_error(error: Exception) -> None:
    """Check an error for users: of the library, in one line, without the secret in it or its causes."""
    if not isinstance(error, LeadershipError):
        raise error
    assert "\n" not in str(error), error
    assert str(error), repr(error)
    check_no_secret(error)


def check_event_order(events: list[str]) -> None:
    """Check the events of a candidate: terms begin and end in turn, and `stopped` is the last event."""
    leads = False
    for number, event in enumerate(events):
        if event == "elected":
            assert not leads, events
            leads = True
        elif event in {"lost", "resigned"}:
            assert leads, events
            leads = False
        elif event == "stopped":
            assert number == len(events) - 1, events
    assert not leads or "stopped" not in events, events
