"""Errors and secrets in front of programs that report tracebacks with all local variables."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["HiddenText", "bare"]

_Error = TypeVar("_Error", bound=BaseException)


class HiddenText(str):
    """A text whose `repr` does not show it, so that no traceback with variables does."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def bare(error: _Error) -> _Error:
    """Take the tracebacks from an error and from those behind it, and return it.

    The frames of a client library hold in their variables what was sent, secrets included.
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
