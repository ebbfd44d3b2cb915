"""docs/monitoring.md: its table of metrics, its alerts, its records and its programs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import leadership_prometheus
from leadership_core import observers
from tests.support.paths import ROOT
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.waiting import at_most, wait_until

PAGE = (ROOT / "docs" / "monitoring.md").read_text()
PROMETHEUS, AUDIT = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def _first_cells(heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_table_of_metrics_is_that_of_the_library() -> None:
    """Each name with its type and its labels, and no other."""
    rows = re.findall(r"^\| `(leadership_\w+)` \| (\w+) \| ([\w, ]*) ?\|", PAGE, re.MULTILINE)
    documented = {
        name: (kind, {label for label in labels.replace(" ", "").split(",") if label})
        for name, kind, labels in rows
    }
    exported = {}
    for metric in leadership_prometheus.Observer().describe():
        labels = getattr(metric, "_labelnames", ())
        counter = metric.type == "counter"
        exported[f"{metric.name}_total" if counter else metric.name] = (metric.type, set(labels))

    assert documented.keys() == exported.keys()
    for name, (kind, labels) in documented.items():
        assert kind == exported[name][0], name
        assert exported[name][1] <= labels, name


def test_labels_are_those_of_the_page(tmp_path: Path) -> None:
    """As the program of the page shows them."""
    port = free_port()
    program = PROMETHEUS.replace("9464", str(port)).replace("sqlite:///", f"sqlite:///{tmp_path}/")
    assert program != PROMETHEUS
    log = tmp_path / "log"
    process = Process([sys.executable, "-u", "-c", program], log, {"PYTHONPATH": str(ROOT)})
    process.start()
    try:
        wait_until(lambda: "leading" in log.read_text(), 20)
        from tests.integration.observers.scrape import scrape

        wait_until(lambda: scrape(port).value("leadership_is_leader", key="service/api") == 1, 10)
        found = scrape(port)
    finally:
        process.terminate()

    for name, labels in re.findall(
        r"^\| `(leadership_\w+)` \| \w+ \| ([\w, ]*) ?\|", PAGE, re.MULTILINE
    ):
        ends = ("", "_count")
        for series in set().union(*(found.all(name + end) for end in ends)):
            assert {label for label, _ in series} == set(labels.replace(" ", "").split(",")) - {""}


def test_table_of_alerts_is_that_of_the_rules() -> None:
    """In the same order."""
    rules = (ROOT / "examples" / "monitoring" / "alerts.yml").read_text()

    assert _first_cells("Alerts") == re.findall(r"- alert: (\w+)", rules)


def test_table_of_records_is_that_of_the_library() -> None:
    """Each kind of record is described."""
    kinds = {kind.__name__ for kind in get_args(observers.Record)}

    assert set(_first_cells("An observer of your own")) == kinds


def test_observer_of_the_page_prints_what_happens() -> None:
    """Word for word, without warnings."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", AUDIT],
        cwd=ROOT, capture_output=True, text=True, timeout=at_most(20), check=True,
    )  # fmt: skip

    leads, put = done.stdout.splitlines()
    assert leads == "node-1 leads service/api with token 1"
    assert re.fullmatch(r"put: ok in \d\.\d{3} s", put)
    assert done.stderr == ""
