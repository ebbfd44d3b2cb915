"""Plugin of pytest that runs tests with a mutant in the product.

    python -m pytest -p tests.mutation.patched_tree --mutant 'stored flag' tests/unit/test_lead.py

With several mutants, each test runs once for each that names it as its killer. Processes that a
test starts plant the mutant that the variable `LEADERSHIP_MUTANT` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from .catalogue import named
from .verdicts import ROOT, VARIABLE, Failure, Outcome

_PARAMETER = "planted_mutant"
_ASKED = pytest.StashKey[set[str]]()
_OUTCOMES = pytest.StashKey[dict[tuple[str, str], Outcome]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--mutant` and `--verdicts`."""
    group = parser.getgroup("mutants")
    group.addoption("--mutant", action="append", default=[], help="the mutant to plant")
    group.addoption("--verdicts", help="file for the outcomes")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse unknown mutants before any test runs."""
    names = config.getoption("--mutant")
    try:
        for name in names:
            named(name)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_OUTCOMES] = {}
    # Tests get one more parameter here, so collect a parametrized test by its plain name.
    config.stash[_ASKED] = {one for one in config.args if names and "[" in one}
    if names:
        config.args[:] = dict.fromkeys(one.partition("[")[0] for one in config.args)


@pytest.fixture
def planted_mutant(request: pytest.FixtureRequest) -> str:
    """The name of the planted mutant."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test once with each mutant."""
    names = metafunc.config.getoption("--mutant")
    if names:
        metafunc.fixturenames.append(_PARAMETER)
        metafunc.parametrize(_PARAMETER, names, ids=map(_mark, names), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the requested tests; with several mutants, each mutant gets its killers."""
    names, asked = config.getoption("--mutant"), config.stash[_ASKED]
    whole = {one for one in config.args if not any(a.startswith(f"{one}[") for a in asked)}

    def is_wanted(item: pytest.Item) -> bool:
        name, test = _mutant_of(item), _plain_id(item)
        if name is None or (len(names) > 1 and not _kills(item, name)):
            return False
        return test in asked or any(test.startswith(one) for one in whole)

    if not names:
        return
    kept = [item for item in items if is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Plant the mutant before the test's fixtures, and remove it after them."""
    name = _mutant_of(item)
    if name is None:
        return (yield)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        with named(name).planted():
            return (yield)
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the outcome."""
    report = yield
    name = _mutant_of(item)
    if name is not None:
        outcomes = item.config.stash[_OUTCOMES]
        outcome = outcomes.setdefault((name, _plain_id(item)), Outcome())
        outcome.seconds += report.duration
        if call.excinfo is not None:
            outcome.failures.append(_failure(report, call.excinfo))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the outcomes to the file."""
    file = session.config.getoption("--verdicts")
    if file:
        found = session.config.stash[_OUTCOMES].items()
        rows = [{"mutant": name, "test": test, **one.as_json()} for (name, test), one in found]
        Path(file).write_text(json.dumps(rows))


def _failure(report: pytest.TestReport, info: pytest.ExceptionInfo[BaseException]) -> Failure:
    said = str(info.value).strip().splitlines()
    first = next((line for line in said if line.strip()), "")
    # A failed pytest.raises is an assertion, too; a timeout is not.
    is_failure = info.errisinstance((AssertionError, pytest.fail.Exception))
    asserted = is_failure and not first.startswith("Timeout")
    return Failure(report.when or "", info.typename, first[:200], asserted=asserted)


def _mark(name: str) -> str:
    return f"<{name}>"


def _mutant_of(item: pytest.Item) -> str | None:
    call: Any = getattr(item, "callspec", None)
    found = None if call is None else call.params.get(_PARAMETER)
    return None if found is None else str(found)


def _plain_id(item: pytest.Item) -> str:
    """The id of the test without the mutant; with an absolute path outside of the project."""
    mark = _mark(_mutant_of(item) or "")
    head, bracket, words = item.nodeid.partition("::")[2].partition("[")
    words = words.removesuffix("]")
    for joined in (f"-{mark}", f"{mark}-", mark):
        words = words.replace(joined, "")
    file = item.path.relative_to(ROOT) if item.path.is_relative_to(ROOT) else item.path
    return f"{file}::{head}[{words}]" if bracket and words else f"{file}::{head}"


def _kills(item: pytest.Item, name: str) -> bool:
    test = _plain_id(item)
    return any(test == one or test.partition("[")[0] == one for one in named(name).killers)
