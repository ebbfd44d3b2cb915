"""Assertions with messages, which need no test framework."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...backend.entries import Entry
from ..sandbox import Sandbox

__all__ = ["is_equal", "is_false", "is_true", "is_vacant", "raises", "unnamed"]

_short = reprlib.Repr()
_short.maxstring, _short.maxother, _short.maxlist, _short.maxlevel = 120, 200, 12, 4


def is_equal(found: Any, wanted: Any, what: str) -> None:
    """Fail unless both are equal."""
    assert found == wanted, f"{what}: {_short.repr(found)} instead of {_short.repr(wanted)}"


def is_true(found: object, what: str) -> None:
    """Fail unless it is True, and not just something like it."""
    assert found is True, f"{what}: {_short.repr(found)} instead of True"


def is_false(found: object, what: str) -> None:
    """Fail unless it is False, and not just something like it."""
    assert found is False, f"{what}: {_short.repr(found)} instead of False"


def raises(kind: type[Exception], call: Callable[[], object], what: str) -> None:
    """Fail unless the call raises an error of that kind; others are passed on."""
    try:
        result = call()
    except kind:
        return
    raise AssertionError(f"{what}: no {kind.__name__}, but {_short.repr(result)}")


def is_vacant(sandbox: Sandbox, key: str) -> bool:
    """Return whether the election of this key has no leader."""
    return sandbox.store.leader(key) is None


def unnamed(state: Any) -> Any:
    """Return entries with all session ids replaced by one.

    What a session is called is between it and its own connection; that an entry is bound to one
    is what every connection sees.
    """
    if isinstance(state, list):
        return [unnamed(one) for one in state]
    if isinstance(state, Entry) and state.session is not None:
        return replace(state, session="some session")
    return state
