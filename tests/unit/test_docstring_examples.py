"""The examples in the docstrings of the public names, run as written."""

from __future__ import annotations

import doctest
from collections.abc import Iterator

import pytest

import leadership_core
from leadership_core import Candidate, Fence, Follower, Lock, Store, Term, open_store
from leadership_core.backend import RateLimiter
from leadership_core.only_leader import OnlyLeader
from leadership_core.status import serve
from leadership_core.testing import StoreFaults, VirtualClock

_WITH_EXAMPLES = {
    "open_store": open_store,
    "Store": Store,
    "Store.put": Store.put,
    "Store.lock": Store.lock,
    "Lock": Lock,
    "Candidate": Candidate,
    "Candidate.lead": Candidate.lead,
    "Candidate.leading": Candidate.leading,
    "Candidate.working": Candidate.working,
    "OnlyLeader": OnlyLeader,
    "Candidate.run_for_election": Candidate.run_for_election,
    "Follower": Follower,
    "Term": Term,
    "Fence": Fence,
    "VirtualClock": VirtualClock,
    "StoreFaults": StoreFaults,
    "RateLimiter": RateLimiter,
    "graceful_exit": leadership_core.graceful_exit,
    "status.serve": serve,
    "installed_stores": leadership_core.installed_stores,
}

_FURTHER = {"VirtualClock": VirtualClock, "StoreFaults": StoreFaults}


@pytest.fixture
def store() -> Iterator[Store]:
    """A new store for each example, whose tokens begin at 1."""
    with open_store("memory://") as opened:
        yield opened


@pytest.mark.parametrize("name", _WITH_EXAMPLES)
def test_docstring_example_is_correct(store: Store, name: str) -> None:
    """It runs, and prints what the docstring shows."""
    public = {name: getattr(leadership_core, name) for name in leadership_core.__all__}
    known = {**public, **_FURTHER, "RateLimiter": RateLimiter, "serve": serve, "store": store}
    finder = doctest.DocTestFinder(recurse=False)
    tests = [one for one in finder.find(_WITH_EXAMPLES[name], name, globs=known) if one.examples]
    assert len(tests) == 1, "the docstring has no example"
    report: list[str] = []

    result = doctest.DocTestRunner().run(tests[0], out=report.append)

    assert result.failed == 0, "".join(report)
