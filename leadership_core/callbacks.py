"""What a program passes to be called later is checked at once, where the mistake is made."""

from __future__ import annotations

import inspect

from .errors import ConfigurationError
from .timing import shown

__all__ = ["check_callback", "refuse_unrun"]


def check_callback(name: str, function: object, *arguments: str) -> None:
    """Raise `ConfigurationError` unless the function can be called with so many arguments.

    Args:
        name: what the parameter is called, for the message.
        function: what was passed.
        arguments: what it will be called with, for the message.
    """
    wanted = f"{name}({', '.join(arguments)})"
    if not callable(function):
        raise ConfigurationError(f"{wanted} must be callable, and {shown(function)} is not")
    for one in (function, type(function).__call__):
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise ConfigurationError(
                f"{wanted} is called in a thread, and a call of {shown(function)} would only make "
                "a coroutine that nothing awaits: pass a function that runs it, as asyncio.run does"
            )
        if inspect.isgeneratorfunction(one):
            raise ConfigurationError(
                f"{wanted} must do its work when it is called, and a call of {shown(function)} "
                "would only make a generator"
            )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of those that are written in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"{wanted} must take what it is called with, and {shown(function)} does not: {error}"
        ) from None


def refuse_unrun(name: str, function: object, result: object) -> None:
    """Raise `ConfigurationError` if a call has only made something that is still to be run."""
    if inspect.iscoroutine(result):
        result.close()  # or Python warns that nothing has awaited it
    elif not inspect.isgenerator(result) and not inspect.isasyncgen(result):
        return
    raise ConfigurationError(
        f"{name} must do its work when it is called, and {shown(function)} has returned "
        f"a {type(result).__name__} that nothing runs"
    )
