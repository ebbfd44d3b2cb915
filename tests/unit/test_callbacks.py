"""Refusal of callbacks that cannot be called as they would be."""

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from leadership_core import Candidate, ConfigurationError, Store


async def _coroutine(_: object) -> None:
    """A coroutine function: a plain call of it runs nothing."""


async def _async_generator(_: object) -> AsyncIterator[None]:
    yield None


def _generator(_: object) -> Iterator[None]:
    yield None


class _Async:
    async def __call__(self, _: object) -> None:
        """Would never run, either."""

    async def method(self, _: object) -> None:
        """Nor would this."""


_WRONG: dict[str, Any] = {
    "coroutine function": _coroutine,
    "partial of one": functools.partial(_coroutine),
    "method": _Async().method,
    "object": _Async(),
    "async generator": _async_generator,
    "generator": _generator,
    "nothing": None,
    "coroutine": "coroutine",
    "no parameter": lambda: None,
    "two parameters": lambda one, two: None,
    "keyword only": lambda *, term: None,
}
wrong = pytest.mark.parametrize("function", _WRONG.values(), ids=_WRONG)


@wrong
def test_lead_refuses_work_that_cannot_run(store: Store, function: Any) -> None:
    """The call itself raises, before anything is started."""
    candidate = Candidate(store, "key", "a", ttl=3)

    with pytest.raises(ConfigurationError, match="work"):
        candidate.lead(function)

    assert store.leader("key") is None


@wrong
@pytest.mark.parametrize("method", ["watch", "watch_tree"])
def test_watch_refuses_a_callback_that_cannot_run(store: Store, function: Any, method: str) -> None:
    """The call itself raises, and no watch is opened."""
    with pytest.raises(ConfigurationError, match="on_change"):
        getattr(store, method)("key", function)


@pytest.mark.parametrize("function", [_coroutine, _generator, _async_generator])
def test_lead_ends_when_the_work_has_only_made_something_to_run(
    store: Store, function: Callable[[object], object]
) -> None:
    """A coroutine function in a lambda is found at the first call, and the work is not repeated."""
    candidate = Candidate(store, "key", "a", ttl=3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigurationError, match="nothing runs"):
            candidate.lead(lambda term: function(term) or None)

    assert store.leader("key") is None


def test_lead_takes_all_that_can_be_called_with_a_term(store: Store) -> None:
    """Functions, methods, partials and callable objects are accepted."""
    called: list[str] = []

    class Worker:
        def __call__(self, term: object, more: int = 0) -> None:
            called.append("object")

        def method(self, *terms: object) -> None:
            called.append("method")

    works: list[Callable[[Any], object]] = [
        Worker(),
        Worker().method,
        functools.partial(lambda name, term: called.append(name), "partial"),
        lambda term: called.append(f"asyncio.run {asyncio.run(_coroutine(term))}"),
    ]
    for work in works:
        candidate = Candidate(store, "key", "a", ttl=3)

        def once(term: Any, work: Any = work, candidate: Candidate = candidate) -> None:
            work(term)
            candidate.stop()

        candidate.lead(once)
    assert called == ["object", "method", "partial", "asyncio.run None"]
