"""Validation of arguments, and comparisons for stores without compare-and-set."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, Conflict, Fenced
from .expectations import ABSENT, ANY

if TYPE_CHECKING:
    from .entries import Entry, Expected
    from .fence import Fence

__all__ = [
    "LONGEST_TTL",
    "LONGEST_WAIT",
    "check_callback",
    "check_cooldown",
    "check_expected",
    "check_fence",
    "check_session",
    "check_timeout",
    "check_ttl",
    "check_value",
    "is_finite_number",
    "refuse_unrun",
    "safe_repr",
]


def check_value(value: object) -> bytes:
    """Return the value as bytes; raises `ConfigurationError` if it is of another type."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ConfigurationError(f"the value must be bytes, not {type(value).__name__}")
    return bytes(value)


def check_session(session: object) -> None:
    """Raise `ConfigurationError` unless it has the `id` of a session."""
    if not isinstance(getattr(session, "id", None), str):
        raise ConfigurationError(
            f"the session must come from open_session(), not {type(session).__name__}"
        )


def check_expected(key: str, current: Entry | None, expect: Expected) -> None:
    """Raise `Conflict` unless the entry is the expected one.

    The key is not compared: a revision belongs to one write of one key. Value and session are
    compared, because a store that was replaced starts its revisions again.
    """
    if expect is ANY:
        return
    if expect is ABSENT:
        if current is not None:
            raise Conflict(f"{key!r} is there already, with revision {current.revision}")
    elif current is None:
        raise Conflict(f"{key!r} is gone, expected revision {expect.revision}")
    elif (current.revision, current.value, current.session) != (
        expect.revision,
        expect.value,
        expect.session,
    ):
        raise Conflict(
            f"{key!r} has revision {current.revision}, expected revision {expect.revision}"
        )


def check_fence(fence: Fence, claim: Entry | None) -> None:
    """Raise `Fenced` unless the entry at the fence's key is the claim that the token names.

    Args:
        fence: the fence of the write.
        claim: the present entry at its key; the session of that, if it has one, is alive.
    """
    if claim is None or claim.session is None or claim.revision != fence.token:
        raise Fenced(f"the term with token {fence.token} of {fence.key!r} is over")


def check_callback(name: str, function: object, *arguments: str, coroutines: bool = False) -> None:
    """Raise `ConfigurationError` unless the function can be called with these arguments.

    Args:
        name: the name of the parameter, for the message.
        function: the argument to check.
        arguments: the names of the arguments that it will be called with.
        coroutines: whether a coroutine function is accepted, too.
    """
    import inspect  # only here: the open store has loaded it, and importing a candidate needs none

    wanted = f"{name}({', '.join(arguments)})"
    if not callable(function):
        raise ConfigurationError(f"{wanted} must be callable, and {safe_repr(function)} is not")
    for one in (function, type(function).__call__):
        if coroutines and inspect.iscoroutinefunction(one):
            continue
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise ConfigurationError(
                f"{wanted} is called in a thread, and a call of {safe_repr(function)} would only make "
                "a coroutine that nothing awaits: pass a function that runs it, as asyncio.run does"
            )
        if inspect.isgeneratorfunction(one):
            raise ConfigurationError(
                f"{wanted} must do its work when it is called, and a call of {safe_repr(function)} "
                "would only make a generator"
            )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"{wanted} must take what it is called with, and {safe_repr(function)} does not: {error}"
        ) from None


def refuse_unrun(name: str, function: object, result: object) -> None:
    """Raise `ConfigurationError` if a call has only made a coroutine or a generator."""
    import inspect  # as in `check_callback`

    if inspect.iscoroutine(result):
        result.close()  # or Python warns that nothing has awaited it
    elif not inspect.isgenerator(result) and not inspect.isasyncgen(result):
        return
    raise ConfigurationError(
        f"{name} must do its work when it is called, and {safe_repr(function)} has returned "
        f"a {type(result).__name__} that nothing runs"
    )


def is_finite_number(value: object) -> bool:
    """Whether the value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def safe_repr(value: object) -> str:
    """Return a short `repr` of any value for a message; never raises."""
    try:
        return f"{value!r:.60}"
    except Exception:  # noqa: BLE001 - as for a number of 5,000 digits
        return f"a {type(value).__name__} that cannot be shown"


def check_timeout(timeout: float | None) -> float | None:
    """Return the seconds that a call may block; the same rule for every `timeout` of this library.

    None stands for no limit, or for the default that the method names (`stop`: one ttl). 0 means not
    to wait.

    Raises:
        ConfigurationError: it is negative, infinite or not a number.
    """
    if timeout is None:
        return None
    if not is_finite_number(timeout) or timeout < 0:
        raise ConfigurationError(
            f"the timeout must be a number of seconds, 0 or more, not {safe_repr(timeout)}; "
            "None sets no limit"
        )
    return min(float(timeout), LONGEST_WAIT)


def check_ttl(ttl: float) -> float:
    """Return the ttl as a float; raises `ConfigurationError` if it is invalid."""
    if not is_finite_number(ttl):
        raise ConfigurationError(f"the ttl must be a number of seconds, not {safe_repr(ttl)}")
    if ttl <= 0:
        raise ConfigurationError(
            f"the ttl must be a positive number of seconds, not {safe_repr(ttl)}"
        )
    if ttl < _SHORTEST_TTL:
        raise ConfigurationError(
            f"the ttl must be at least {_SHORTEST_TTL:g} s, not {safe_repr(ttl)}: "
            "a shorter one cannot be renewed reliably"
        )
    if ttl > LONGEST_TTL:
        raise ConfigurationError(
            f"the ttl must be at most a day, {LONGEST_TTL:g} s, not {safe_repr(ttl)}: a leader that "
            "has died is not replaced before its ttl is over"
        )
    return float(ttl)


_SHORTEST_TTL = 0.1


LONGEST_WAIT = threading.TIMEOUT_MAX / 2
"""Seconds, a hundred years and more: no thread can wait much longer."""


LONGEST_TTL = 86_400.0
"""Seconds: a day, as on Consul. A longer ttl is neither requested nor accepted from a server."""


def check_cooldown(cooldown: float) -> float:
    """Return it; raises `ConfigurationError` if it is not a number of seconds, 0 or more."""
    if not is_finite_number(cooldown) or cooldown < 0:
        raise ConfigurationError(
            f"the cooldown must be a number of seconds, not {safe_repr(cooldown)}"
        )
    return cooldown
