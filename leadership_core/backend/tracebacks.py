"""Protection of secrets from tracebacks that show local variables."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["HiddenText", "bare"]

_Error = TypeVar("_Error", bound=BaseException)


class HiddenText(str):
    """A text whose `repr` is masked, so that a traceback with local variables does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def bare(error: _Error) -> _Error:
    """Remove the tracebacks of an error, of its causes and of its contexts, and return it.

    The frames of a client library hold the request in their variables, secrets included.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        left += [one.__cause__, one.__context__]
    return error
