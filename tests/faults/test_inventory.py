from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.faults.catalogue import ALL, FAULTS
from tests.faults.inventory import scenarios
from tests.faults.stand import Stand
from tests.servers.releases import kind_of


def test_each_fault_has_a_scenario() -> None:
    """None of the list is left out, and none is tried on no store."""
    tried = {one.number for one in scenarios() if one.kinds}

    assert sorted(set(FAULTS) - tried) == []


def test_each_scenario_is_judged() -> None:
    """No scenario goes by without having its history judged."""
    assert [one.name for one in scenarios() if not _finishes(one.test)] == []


def test_one_that_may_go_unjudged_is_found() -> None:
    """What is done under a condition does not count."""

    def sound(stand: Stand) -> None:
        with stand.fault("a cut"):
            pass
        stand.finish()

    def careless(stand: Stand) -> None:
        if stand.kind == "etcd":
            stand.finish()

    assert _finishes(sound)
    assert not _finishes(careless)


def test_each_scenario_says_what_it_is() -> None:
    """It has a number in its name, a line of text, and stores that there are."""
    for one in scenarios():
        assert one.name.startswith(f"{one.number:02}_")
        assert one.what, one.name
        assert {kind_of(kind) for kind in one.kinds} <= set(ALL)
        assert len(set(one.kinds)) == len(one.kinds), one.name


def _finishes(function: Callable[..., Any]) -> bool:
    """Whether it does so whatever happens, by itself or by something that it calls."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    return any(_is_finish(call, function) for call in _always_done(tree.body))


def _always_done(body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    for one in body:
        if isinstance(one, ast.With):
            yield from _always_done(one.body)
        elif isinstance(one, ast.Expr | ast.Assign | ast.Assert):
            yield from (node for node in ast.walk(one) if isinstance(node, ast.Call))


def _is_finish(call: ast.Call, function: Callable[..., Any]) -> bool:
    called = ast.unparse(call.func)
    helper = function.__globals__.get(called)
    return called == "stand.finish" or (inspect.isfunction(helper) and _finishes(helper))
