"""Public names of `leadership_core.aio`: those of the core, and what waits is awaited."""

from __future__ import annotations

import inspect

import pytest

import leadership_core
from leadership_core import aio

_OTHER = {
    "Candidate": (set(), set()),
    "Follower": (set(), set()),
    "Lock": (set(), set()),
    "Store": ({"blocking"}, {"election"}),  # that of the engine is for threads
    "Term": (set(), set()),
}
"""The names that are added, and those that are missing."""

_AWAITED = {
    "Candidate": {"lead", "resign", "stop", "wait_elected"},
    "Follower": {"stop", "wait_leader"},
    "Lock": {"acquire", "release"},
    "Store": {
        *(
            "close",
            "delete",
            "delete_tree",
            "exists",
            "get",
            "leader",
            "list",
            "open_session",
            "put",
        ),
    },
    "Term": {"ensure", "wait_lost"},
}


def _names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", _OTHER)
def test_classes_have_the_names_that_they_have_for_threads(name: str) -> None:
    """The same methods and properties, with the same parameters."""
    here, there = getattr(aio, name), getattr(leadership_core, name)
    added, missing = _OTHER[name]
    for one in _names(here) - added:
        ours, theirs = getattr(here, one), getattr(there, one)
        if inspect.isfunction(ours):
            assert list(inspect.signature(ours).parameters) == list(
                inspect.signature(theirs).parameters
            ), one

    instance_only = {"key"} if name == "Lock" else set()
    assert _names(here) | instance_only == (_names(there) | added | instance_only) - missing


@pytest.mark.parametrize("name", _AWAITED)
def test_methods_that_block_in_threads_are_awaited(name: str) -> None:
    """No other method is a coroutine function."""
    kind = getattr(aio, name)
    awaited = {one for one in _names(kind) if inspect.iscoroutinefunction(getattr(kind, one))}

    assert awaited == _AWAITED[name]


def test_package_exports() -> None:
    """`leadership_core.aio` has these names; all others are those of `leadership_core`."""
    assert aio.__all__ == [
        *("Candidate", "CandidateEvent", "Elected", "Follower", "Lock", "Session", "Store", "Term"),
        *("Watch", "open_store"),
    ]
    assert _names(aio.Session) == {"blocking", "close", "id", "renew", "ttl"}
    assert _names(aio.Watch) == {"close", "end", "open"}
