"""The Grafana dashboard of `examples/monitoring`: its queries, and the fields that Grafana wants."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import leadership_prometheus
from tests.integration.observers.conftest import RULES, Promtool

FILE = RULES.with_name("dashboard.json")
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

_NAME = re.compile(r"\bleadership_\w+")
_SUFFIXES = ("_bucket", "_sum", "_count")
# What takes the place of Grafana's variables, for promtool.
_VARIABLES = {"$__rate_interval": "1m", "$key": "a", "$store": "b"}
_COLUMNS = 24


def exported() -> set[str]:
    """The names of the metrics, as the library registers them."""
    return {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in leadership_prometheus.Observer().describe()
    }


def queries() -> Iterator[str]:
    """All queries of the dashboard, those of its variables included."""
    for panel in PANELS:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def _metrics(query: str) -> set[str]:
    known = exported()
    return {
        next((name.removesuffix(end) for end in _SUFFIXES if name.removesuffix(end) in known), name)
        for name in _NAME.findall(query)
    }


def test_every_metric_of_a_query_is_exported() -> None:
    """A renamed metric would leave a panel empty."""
    used = set().union(*map(_metrics, queries()))

    assert used - exported() == set()


def test_every_exported_metric_is_shown() -> None:
    """What is worth exporting is worth a panel."""
    assert exported() - set().union(*map(_metrics, queries())) == set()


def test_queries_are_valid(promtool: Promtool, tmp_path: Path) -> None:
    """Prometheus itself parses each of them."""
    rules = []
    for number, panel_query in enumerate(
        target["expr"] for panel in PANELS for target in panel["targets"]
    ):
        query = panel_query
        for variable, value in _VARIABLES.items():
            query = query.replace(variable, value)
        assert "$" not in query
        rules.append({"record": f"query:{number}", "expr": query})
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_panels_have_what_grafana_wants() -> None:
    """Ids and places of their own, a data source that the user selects, and words for the reader."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    kinds = {"timeseries", "stat", "bargauge", "state-timeline"}
    for panel in PANELS:
        assert panel["type"] in kinds
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) > 0
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["legendFormat"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert defaults["thresholds"]["steps"][0]["value"] is None


def test_panels_do_not_overlap() -> None:
    """Each has its place in the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] <= at["x"] + at["w"] <= _COLUMNS
        cells = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells


def test_variables_are_those_that_queries_use() -> None:
    """The data source, the kind of store, and the election."""
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", FILE.read_text())) - {"__rate_interval", "__all"}

    assert names == used == {"datasource", "key", "store"}


def test_document_is_importable() -> None:
    """Without an id of another Grafana, with a schema version and a time range."""
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"] == "leadership"
    assert DASHBOARD["schemaVersion"] >= 36
    assert set(DASHBOARD["time"]) == {"from", "to"}
    for key in ("title", "tags", "timezone", "refresh", "templating", "annotations", "version"):
        assert key in DASHBOARD
