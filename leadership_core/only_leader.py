"""Decorator of functions that only the leader may run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from . import engine
from .backend.validation import refuse_unrun, safe_repr
from .errors import ConfigurationError

__all__ = ["RAISE", "OnlyLeader", "OnlyLeaderOtherwise", "decorated"]

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)

RAISE = object()
"""In place of a value to return."""

Decorate: TypeAlias = (
    "Callable[[engine.CandidateControl, Callable[..., Any], object], Callable[..., Any]]"
)


class OnlyLeaderOtherwise(Protocol[D_co]):
    """A decorator of functions whose calls return a given value unless the candidate leads."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Callable[P, Coroutine[Any, Any, T | D_co]]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, T | D_co]: ...


class OnlyLeader:
    """The decorator `candidate.only_leader`, without parentheses or with them.

    Each call of the decorated function is work for the present term, as in `candidate.working()`:
    the claim is withdrawn only after the call. A coroutine function stays one; the term that it
    works for is the one at the first step, and it is not cancelled when that is lost.

    A call raises `NotElected` at once if the candidate does not lead, unless there is a value to return
    `otherwise`; and `LeadershipLost` when the function has returned normally although the term was
    lost before.

    Args:
        control: of the candidate.
        decorate: makes the decorated function from the control, the function and what it returns
            otherwise, or `RAISE`; by default for threads.

    Example:
        >>> candidate = Candidate(store, "service/api", "node-1")
        >>> @candidate.only_leader(otherwise="standby")
        ... def clean_up(folder):
        ...     return f"{folder} is clean"
        >>> clean_up("/tmp")
        'standby'
        >>> term = candidate.wait_elected(timeout=5)
        >>> clean_up("/tmp")
        '/tmp is clean'
    """

    def __init__(self, control: engine.CandidateControl, decorate: Decorate | None = None) -> None:
        self._control = control
        self._decorate = decorate or decorated

    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]: ...

    @overload
    def __call__(self) -> OnlyLeader: ...

    @overload
    def __call__(self, *, otherwise: D) -> OnlyLeaderOtherwise[D]: ...

    def __call__(self, *functions: Any, otherwise: Any = RAISE) -> Any:
        """Decorate a function.

        Args:
            functions: one ordinary function or coroutine function; without one, the call returns a
                decorator.
            otherwise: what calls return while the candidate does not lead, in place of raising.

        Raises:
            ConfigurationError: it is a generator function, whose body runs after the call.
        """
        if len(functions) > 1:
            raise ConfigurationError(
                "only_leader decorates one function, and has no other arguments"
            )
        if not functions:
            if otherwise is RAISE:
                return self
            return lambda function: self._decorate(self._control, function, otherwise)
        return self._decorate(self._control, functions[0], otherwise)


def decorated(
    control: engine.CandidateControl, function: Callable[..., Any], otherwise: object
) -> Callable[..., Any]:
    """Decorate a function, or a coroutine function that is not cancelled when the term is lost."""
    import inspect  # only here, as in `check_callback`

    if not callable(function):
        raise ConfigurationError(
            f"only_leader decorates a function, and {safe_repr(function)} is not callable"
        )
    kinds = (function, type(function).__call__)
    if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in kinds):
        raise ConfigurationError(
            f"only_leader cannot decorate the generator function {safe_repr(function)}, whose body "
            "runs after the call: use a block `with candidate.working()` inside of it"
        )
    required = otherwise is RAISE
    if any(inspect.iscoroutinefunction(one) for one in kinds):

        @wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            with engine.working(control, required=required) as term:
                return otherwise if term is None else await function(*args, **kwargs)

        return run

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with engine.working(control, required=required) as term:
            if term is None:
                return otherwise
            result = function(*args, **kwargs)
            refuse_unrun("only_leader", function, result)
            return result

    return call
