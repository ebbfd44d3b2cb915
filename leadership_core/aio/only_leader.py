"""Decorator of coroutine functions that only the leader may run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..engine.candidate_control import CandidateControl
from ..engine.open_store import OpenStore
from ..only_leader import RAISE, OnlyLeader, decorated
from .leading import Working

__all__ = ["only_leader"]


def only_leader(control: CandidateControl, opened: OpenStore) -> OnlyLeader:
    """Return the decorator of a candidate; see `Candidate.only_leader`."""

    def decorate(
        control: CandidateControl, function: Callable[..., Any], otherwise: object
    ) -> Callable[..., Any]:
        if not any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
            return decorated(control, function, otherwise)

        @wraps(function)
        async def work(*args: Any, **kwargs: Any) -> Any:
            current = control.valid_term
            if current is None and otherwise is not RAISE:
                return otherwise
            async with Working(control, opened, current):
                return await function(*args, **kwargs)

        return work

    return OnlyLeader(control, decorate)
