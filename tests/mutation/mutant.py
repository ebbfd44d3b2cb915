"""Mutant: a known mistake of this field, and the patches that plant it into the product."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

__all__ = ["Mutant", "Patch", "always", "always_returns", "nothing"]

Patch = tuple[Any, str, Callable[[Any], Any]]
"""Object, attribute, and a function that turns the right value into the wrong one."""


@dataclass(frozen=True)
class Mutant:
    """A mutant.

    Attributes:
        name: of the mistake.
        effect: what goes wrong, in one sentence.
        seen: projects in which it has occurred.
        killers: ids of the tests that fail with it, the quickest first.
        patches: of the product.
        backend: of the simulation that kills it, too; empty if none does.
        slow: whether its killers are too slow for the usual run.
    """

    name: str
    effect: str
    seen: str
    killers: tuple[str, ...]
    patches: tuple[Patch, ...]
    backend: str = ""
    slow: bool = False

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Plant it into the product, for the length of a `with` block."""
        with ExitStack() as stack:
            for place, name, mutate in self.patches:
                new = mutate(getattr(place, name))
                stack.enter_context(mock.patch.object(place, name, new))
            yield

    def __str__(self) -> str:
        return self.name


def nothing(_: Any) -> Any:
    """A function that does nothing."""
    return lambda *_, **__: None


def always(*, value: object) -> Callable[[Any], Any]:
    """A function that always returns the value."""
    return lambda _: lambda *_, **__: value


def always_returns(*, value: object) -> Callable[[Any], Any]:
    """An operation that waits for nothing and returns the value."""

    def operation(*_: object, **__: object) -> Generator[Any, None, object]:
        yield from ()
        return value

    return lambda _: operation
