"""What must hold whatever came from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hypothesis import HealthCheck, settings

from leadership_core.errors import LeadershipError

__all__ = ["SECRET", "examples", "in_order", "says_no_secret", "tolerated"]

SECRET = "Xk7secretQz"


def examples(few: int) -> settings:
    """So many examples, the same ones in each run; more of them for $LEADERSHIP_FUZZ times."""
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
    """An error, and what it came from: all that a traceback would show."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def says_no_secret(error: BaseException) -> None:
    for one in chain(error):
        assert SECRET not in f"{one} {one!r}", f"{type(one).__name__} shows the secret: {one}"


def tolerated(error: Exception) -> None:
    """An error that a user may meet: ours, in one line, with no secret in it or behind it."""
    if not isinstance(error, LeadershipError):
        raise error
    assert "\n" not in str(error), error
    assert str(error), repr(error)
    says_no_secret(error)


def in_order(events: list[str]) -> None:
    """The story of a candidate obeys its grammar: no term begins twice, none ends twice."""
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
