"""The report page and its timelines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.paths import ROOT
from tests.support.store_observer import Holder, Reading
from tests.system.catalogue import FAULTS
from tests.system.report import forget, page, read_runs
from tests.system.run_record import VERSION, spans
from tests.system.scenario_index import Scenario, scenarios
from tests.system.timeline import draw, leaderless


def _interval(token: int, since: float, until: float) -> dict[str, Any]:
    return {"token": token, "since": since, "until": until, "open": False}


def _event(at: float, name: str, token: int | None = None, reason: str = "") -> dict[str, Any]:
    return {"at": at, "name": name, "token": token, "reason": reason}


def _run(**changes: Any) -> dict[str, Any]:
    """The record of a run with every kind of content."""
    first = {
        "who": "1-first",
        "intervals": [_interval(5, 1.0, 3.0)],
        "events": [_event(1.0, "elected", 5), _event(3.0, "lost", None, "expired")],
        "actions": [[0.0, "started"], [2.0, "SIGSTOP"], [5.0, "SIGCONT"], [6.0, "SIGKILL"]],
    }
    second = {
        "who": "2-second",
        "intervals": [_interval(7, 4.5, 8.0)],
        "events": [_event(4.5, "elected", 7)],
        "actions": [[0.2, "started"]],
    }
    run = {
        "version": VERSION,
        "test": "tests/system/test_x.py::test_06_x[etcd]",
        "name": "06_x-etcd",
        "scenario": "06_x",
        "number": 6,
        "kind": "etcd",
        "what": "What it is.",
        "at": "2026-01-02T03:04:05+00:00",
        "outcome": "passed",
        "message": "",
        "failure": "",
        "files": [],
        "ttl": 2.0,
        "allowed": 7.0,
        "gap": 0.0,
        "forgets": False,
        "ended": 8.0,
        "closed": 9.0,
        "candidates": [first, second],
        "servers": [{"name": "etcd", "actions": [[-3.0, "started"], [2.0, "SIGSTOP"]]}],
        "faults": [{"what": "cut <b>", "since": 2.0, "until": 4.0, "heals": True}],
        "marks": [{"what": "SIGKILL 1-first", "at": 6.0}],
        "store": [
            {"token": 5, "value": "first", "since": 1.0, "until": 3.2},
            {"token": None, "value": None, "since": 3.2, "until": 3.5},
            {"token": 7, "value": "second", "since": 4.5, "until": 8.0},
        ],
        "recoveries": [{"what": "cut <b>", "at": 4.0, "seconds": 0.5, "owed": True}],
    }
    return run | changes


def _scenario(number: int, *kinds: str) -> Scenario:
    def test() -> None:
        """A scenario of the tests below."""

    test.__name__ = f"test_{number:02}_x"
    return Scenario(number, test, Path(__file__), kinds, frozenset())


def test_page_names_every_fault_and_outcome() -> None:
    """Passed, failed, not run and not applicable are different; each run is linked."""
    known = [_scenario(6, "etcd", "consul"), _scenario(7, "etcd")]
    failed = _run(
        name="06_x-consul",
        kind="consul",
        outcome="failed",
        message="two leaders",
        failure="trace",
    )
    shown = page(
        known, {"06_x-etcd": _run(), "06_x-consul": failed, "99-etcd": _run(scenario="99")}
    )

    row = re.search(r"<tr[^>]*><td class=\"number\">6</td>.*?</tr>", shown, re.DOTALL)
    assert row is not None
    assert row[0].startswith('<tr class="bad">')
    assert 'class="chip failed" href="#06_x-consul"' in row[0]
    assert 'class="chip passed" href="#06_x-etcd"' in row[0]
    assert row[0].count("does-not-apply") == 2
    assert shown.count("07_x: not run") == 1
    assert all(what in shown for what in FAULTS.values() if "'" not in what)
    assert shown.count("<details id=") == 2
    assert '<div class="tile bad"><b>1</b>failed' in shown
    assert shown.index('id="06_x-consul"') < shown.index('id="06_x-etcd"')
    assert "two leaders" in shown


def test_page_needs_nothing_else() -> None:
    """It refers to no other file and no network, and text of a run is never markup."""
    shown = page([_scenario(6, "etcd")], {"06_x-etcd": _run(message="<script>x</script>")})

    assert not re.search(r"https?://|<link|src=|@import", shown)
    assert shown.count("<script>") == 1
    assert "cut <b>" not in shown


def test_timeline_shows_events() -> None:
    """It has terms, faults, stopped processes, the store's readings, and recovery times."""
    picture = ET.fromstring(draw(_run()))

    def look(name: str) -> list[ET.Element]:
        return [one for one in picture.iter() if name in one.get("class", "").split()]

    titles = [one.text for one in picture.iter("title")]
    assert len([one for one in look("held") if one.tag == "rect"]) == 4
    assert "no leader for 1.500 s" in titles
    assert "stopped (SIGSTOP) from 2.000 to 5.000 s" in titles
    assert "nothing to be seen of the store" in titles
    assert "3.000 s lost: expired" in titles
    assert [one.tag for one in look("led")] == ["path"]
    assert any("a leader after 0.5 s" in (one.text or "") for one in picture.iter("text"))


def test_timeline_of_almost_empty_run() -> None:
    """The run failed before any candidate was started."""
    empty = _run(
        candidates=[], servers=[], faults=[], marks=[], store=[], recoveries=[], ended=None
    )

    assert ET.fromstring(draw(empty)).tag == "svg"
    assert leaderless(empty) == []


def test_timeline_of_very_many_terms() -> None:
    """Short terms are merged if they cannot be distinguished."""
    intervals = [_interval(n, n / 1000, n / 1000 + 0.0005) for n in range(1, 8000)]
    events = [_event(n / 1000, "elected", n) for n in range(1, 8000)]
    busy = {"who": "1-a", "intervals": intervals, "events": events, "actions": []}

    assert len(draw(_run(candidates=[busy]))) < 2_000_000


def test_readings_are_joined_to_spans() -> None:
    """Equal readings are one span; a time without readings is left out."""
    a = Holder(5, "a")
    readings = [
        Reading(1.0, 1.1, a),
        Reading(1.2, 1.3, a),
        Reading(1.4, 1.5, None),
        Reading(5.0, 5.1, None),
    ]

    assert [(one["token"], one["since"], one["until"]) for one in spans(readings, 1.0)] == [
        (5, 0.0, 0.4),
        (None, 0.4, 0.5),
        (None, 4.0, 4.1),
    ]


def test_runs_of_removed_tests_are_deleted(tmp_path: Path) -> None:
    """Runs of other tests are kept, however old."""
    for name in ("06_x-etcd", "06_x-consul"):
        (tmp_path / name).mkdir()
        record = _run(name=name, test=f"tests/system/test_x.py::{name}")
        (tmp_path / name / "run.json").write_text(json.dumps(record))

    forget(["tests/system/test_x.py::06_x-etcd"], tmp_path)

    assert set(read_runs(tmp_path)) == {"06_x-etcd"}


@pytest.mark.slow
def test_command_finds_the_tests() -> None:
    """By the number of the fault and the store, also in several processes."""
    words = [
        sys.executable,
        "-m",
        "tests.system",
        "9",
        "--on",
        "etcd",
        "--collect-only",
        "-q",
    ]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=50)

    wanted = {one.test.__name__ for one in scenarios() if one.number == 9 and "etcd" in one.kinds}
    found = re.findall(r"::(test_\w+)\[([^]]*)\]", listed.stdout)
    assert {name for name, _ in found} == wanted
    assert all("etcd" in kind for _, kind in found)
