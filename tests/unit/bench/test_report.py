"""The document, the page and the charts, made of results that are written down here."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from leadership_bench.report import write_report
from leadership_bench.results import OURS, ContenderRecord, Results
from leadership_bench.tables import text_of

KAZOO = "kazoo Election"
PAIR = "1 waiting, each in a process"


@pytest.fixture
def results() -> Results:
    """ZooKeeper, with kazoo, and a contender that is missing."""
    found = Results(
        environment={
            "date": "2026-11-30",
            "processors": 2,
            "processor": "P",
            "memory_gib": 8,
            "system": "Linux",
            "python": "3.11.7",
            "sqlite": "3.45",
            "load_before": 0.1,
            "load_after": 1.0,
            "versions": {"kazoo": "2.11.0"},
        },
        servers={"zk": "3.9.5"},
        contenders=[
            ContenderRecord("zk", OURS, "0.1.0"),
            ContenderRecord("zk", KAZOO, "2.11.0"),
            ContenderRecord("zk", "tooz lock", "", "tooz is not installed"),
        ],
        complete=True,
    )
    found.add("handover", "zk", PAIR, OURS, "ms", [1.0, 2.0, 40.0, None])
    found.add("handover", "zk", PAIR, KAZOO, "ms", [2.0, 4.0, 50.0, 3.0])
    found.add("handover", "zk", "1 waiting, one process", OURS, "ms", [1.0, 1.0])
    found.add("handover", "zk", "1000 waiting, one process", OURS, "ms", [1.2, 1.2])
    for count in (1000, 10_000):
        for what, value in (("elected", count / 1000), ("threads", 9), ("memory", 90), ("idle", 2)):
            found.add("scale", "zk", f"{count} elections: {what}", OURS, "", [value])
    found.add("traffic", "zk", "a leader alone, per ttl: writes", OURS, "writes", [3.0])
    return found


def test_document_has_values_summaries_and_ratios(results: Results) -> None:
    """Readers of the JSON need not compute anything, and can."""
    document = json.loads(json.dumps(results.document()))

    assert document["schema"] == 1
    assert document["complete"] is True
    assert document["series"][0]["values"] == [1.0, 2.0, 40.0, None]
    assert document["series"][0]["summary"]["median"] == 2.0
    (one,) = document["ratios"]
    assert (one["contender"], one["n"], one["median"]) == (KAZOO, 3, 0.5)


def test_text_names_what_is_missing(results: Results) -> None:
    """A contender that was not measured is never left out silently."""
    text = text_of(results, 200)

    assert "tooz lock on ZooKeeper: tooz is not installed" in text
    assert re.search(r"kazoo Election +3\.50 ms .* 0\.50 \(0\.50 to 0\.80\)", text)
    results.complete = False
    assert "interrupted" in text_of(results, 200)


def test_page_has_goals_tables_and_charts(results: Results, tmp_path: Path) -> None:
    """Goals are met or missed as the values say, and each picture exists."""
    page = tmp_path / "benchmarks.md"
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "of-old.svg").touch()

    write_report(results, page)

    text = page.read_text()
    goals = dict(re.findall(r"^\| (ZooKeeper: .*?) \| .* \| (\**\w+\**) \|$", text, re.MULTILINE))
    assert goals[f"ZooKeeper: hand-over from process to process, beside {KAZOO}"] == "met"
    assert goals["ZooKeeper: the same with 1,000 waiting, beside 1 waiting"] == "met"
    assert goals["ZooKeeper: 10,000 elections in a process, threads"] == "met"
    assert goals["ZooKeeper: 10,000 elections in a process, idle"] == "**missed**"
    assert "10,000 elections in a process, threads | at most 20 | 9 |" in text
    pictures = set(re.findall(r"\]\(benchmarks/([\w-]+\.svg)\)", text))
    assert {path.name for path in (tmp_path / "benchmarks").iterdir()} == pictures
    assert "handover-zk.svg" in pictures


def test_charts_have_no_background_script_or_foreign_address(
    results: Results, tmp_path: Path
) -> None:
    """They are readable on light and dark pages, and the same results give the same file."""
    write_report(results, tmp_path / "a.md")
    write_report(results, tmp_path / "b.md")

    for path in (tmp_path / "a").iterdir():
        text = path.read_text()
        ET.fromstring(text)
        assert text == (tmp_path / "b" / path.name).read_text()
        assert "prefers-color-scheme: dark" in text
        assert "<script" not in text
        assert not re.findall(r"https?://(?!www\.w3\.org)", text)
        assert str(tmp_path) not in text
