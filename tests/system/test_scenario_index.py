from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.support.servers.releases import kind_of
from tests.support.testbed import Testbed
from tests.system.catalogue import ALL, FAULTS, ONE_SERVER
from tests.system.scenario_index import scenarios


def test_each_fault_has_a_scenario() -> None:
    """No fault of the catalogue is left out, and each applies to a store."""
    tried = {one.number for one in scenarios() if one.kinds}

    assert sorted(set(FAULTS) - tried) == []


def test_each_scenario_ends_with_oracle() -> None:
    """No scenario ends without a check of its history."""
    assert [one.name for one in scenarios() if not _finishes(one.test)] == []


def test_scenario_that_may_skip_oracle_is_found() -> None:
    """A conditional call does not count."""

    def sound(testbed: Testbed) -> None:
        with testbed.fault("a cut"):
            pass
        testbed.finish()

    def careless(testbed: Testbed) -> None:
        if testbed.kind == "etcd":
            testbed.finish()

    assert _finishes(sound)
    assert not _finishes(careless)


def test_each_scenario_has_number_title_and_stores() -> None:
    """Its name has a number, its docstring one line, and its stores exist."""
    for one in scenarios():
        assert one.name.startswith(f"{one.number:02}_")
        assert one.what, one.name
        assert {kind_of(kind) for kind in one.kinds} <= {*ALL, *ONE_SERVER}
        assert len(set(one.kinds)) == len(one.kinds), one.name


def _finishes(function: Callable[..., Any]) -> bool:
    """Whether it always calls the oracle, directly or indirectly."""
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
    return called == "testbed.finish" or (inspect.isfunction(helper) and _finishes(helper))
