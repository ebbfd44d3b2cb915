"""The fixture that every scenario asks for, and what is kept of each run."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.faults.record import folder_of, keep
from tests.faults.report import write_page
from tests.faults.stand import Stand
from tests.scenarios.diary import now

__all__ = ["Stand"]

_STAND = pytest.StashKey[Stand]()
_REPORTS = pytest.StashKey[list[pytest.TestReport]]()
_RAN = pytest.StashKey[bool]()


@pytest.fixture
def stand(
    kind: str, unique_key: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Stand]:
    """A place for one election under faults."""
    made = request.node.stash[_STAND] = Stand(kind, unique_key, tmp_path, request)
    try:
        yield made
        failed = any(one.failed for one in request.node.stash.get(_REPORTS, []))
        assert made._finished or failed, "a scenario ends with finish()"
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the record of a run when all of it is over, its servers included."""
    report = yield
    stand = item.stash.get(_STAND, None)
    if stand is None or item.get_closest_marker("fault") is None:
        return report
    assert isinstance(item, pytest.Function)
    if report.when == "call":
        stand.closed = now()
    reports = item.stash.setdefault(_REPORTS, [])
    reports.append(report)
    if report.failed:
        report.sections.append(("the fault lab", f"all is kept in {folder_of(item)}"))
    if report.when == "teardown" and not any(one.skipped for one in reports):
        keep(stand, item, reports)
        item.config.stash[_RAN] = True
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Make the page anew. Each process of pytest-xdist does; the last one has all runs."""
    if session.config.stash.get(_RAN, False):
        write_page()
