"""The examples in the docstrings of `leadership_core.aio`, run in one event loop each."""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
from types import CodeType
from typing import Any

import pytest

import leadership_core
from leadership_core import aio
from tests.unit.aio.conftest import Run

_WITH_EXAMPLES = {
    "open_store": aio.open_store,
    "Store": aio.Store,
    "Store.put": aio.Store.put,
    "Store.lock": aio.Store.lock,
    "Store.watch": aio.Store.watch,
    "Session": aio.Session,
    "Watch": aio.Watch,
    "Lock": aio.Lock,
    "Term": aio.Term,
    "Candidate": aio.Candidate,
    "Candidate.lead": aio.Candidate.lead,
    "Candidate.leading": aio.Candidate.leading,
    "Candidate.only_leader": aio.Candidate.only_leader,
    "Candidate.run_for_election": aio.Candidate.run_for_election,
    "Candidate.working": aio.Candidate.working,
    "Follower": aio.Follower,
}


@pytest.mark.parametrize("name", _WITH_EXAMPLES)
def test_docstring_example_is_correct(run: Run, name: str) -> None:
    """It runs, and prints what the docstring shows."""
    thing = _WITH_EXAMPLES[name]
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")
    assert examples, "the docstring has no example"
    source = "".join(example.source for example in examples)
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    assert run(_printed_by(code)) == "".join(example.want for example in examples)


async def _printed_by(code: CodeType) -> str:
    known: dict[str, Any] = {**vars(leadership_core), **vars(aio)}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        async with aio.open_store("memory://") as store:
            known["store"] = store
            known["candidate"] = aio.Candidate(store, "service/other", "node-1")
            running = eval(code, known)
            if inspect.isawaitable(running):
                await running
    return printed.getvalue()
