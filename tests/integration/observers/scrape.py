"""Scrapes of metrics over HTTP, read by the parsers of prometheus_client."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics

__all__ = ["OPENMETRICS", "Scrape", "scrape"]

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scrape:
    """The metrics of one scrape.

    Attributes:
        families: by their names, as the parser returns them.
    """

    def __init__(self, families: list[Metric]) -> None:
        self.families = {family.name: family for family in families}

    @property
    def names(self) -> set[str]:
        """The names of all families, as the program has registered them."""
        return {
            f"{name}_total" if family.type == "counter" else name
            for name, family in self.families.items()
        }

    def all(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        """The values of all series of a name, by their labels."""
        return {
            frozenset(sample.labels.items()): sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name
        }

    def value(
        self, name: str, labels: Mapping[str, str] | None = None, **more: str
    ) -> float | None:
        """The value of the one series with these labels; None if there is none."""
        wanted = frozenset({**(labels or {}), **more}.items())
        found = [value for series, value in self.all(name).items() if wanted <= series]
        assert len(found) <= 1, f"several series of {name} with {wanted}"
        return found[0] if found else None


def scrape(port: int, *, accept: str = "text/plain") -> Scrape:
    """Fetch the metrics of a local server."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
        kind = answer.headers["Content-Type"]
    assert kind.partition(";")[0] == accept.partition(";")[0]
    parse = openmetrics if accept == OPENMETRICS else parser
    return Scrape(list(parse.text_string_to_metric_families(text)))
