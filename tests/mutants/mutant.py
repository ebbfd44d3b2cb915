"""A known mistake of this field, and how it is put into the product as it is shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

__all__ = ["Mutant", "Patch", "always", "nothing"]

Patch = tuple[Any, str, Callable[[Any], Any]]
"""Where, what, and from the right one the wrong one."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        name: in the field's words.
        story: what goes wrong.
        seen: where it has happened.
        killers: the tests that fail with it, as pytest names them; the quickest is the first.
        patches: the mistake.
        backend: where the simulation finds it; empty if it cannot.
        slow: whether its killers take too long for the usual run.
    """

    name: str
    story: str
    seen: str
    killers: tuple[str, ...]
    patches: tuple[Patch, ...]
    backend: str = ""
    slow: bool = False

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While it is in the product."""
        with ExitStack() as stack:
            for place, name, mutate in self.patches:
                new = mutate(getattr(place, name))
                stack.enter_context(mock.patch.object(place, name, new))
            yield

    def __str__(self) -> str:
        return self.name


def nothing(_: Any) -> Any:
    """In place of a function: one that does nothing."""
    return lambda *_, **__: None


def always(*, value: object) -> Callable[[Any], Any]:
    """In place of a function: one that always returns the value."""
    return lambda _: lambda *_, **__: value
