"""Page of the load runs that are kept: their figures, and charts over time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.system.load.chart import Band, chart
from tests.system.load.crowds import CrowdOutcome
from tests.system.load.soak import SoakOutcome

__all__ = ["PLACE", "keep", "write_page"]

PLACE = ROOT / "build" / "load"

_MIB = 2**20


def keep(outcome: CrowdOutcome | SoakOutcome, place: Path = PLACE) -> Path:
    """Write the record of a run in place of that of an earlier one; returns the page."""
    place.mkdir(parents=True, exist_ok=True)
    if isinstance(outcome, CrowdOutcome):
        name, what = (
            f"{outcome.crowd.kind}-{outcome.name.replace(', ', '-').replace(' ', '-')}",
            "crowd",
        )
    else:
        name, what = f"{outcome.soak.kind}-soak", "soak"
    file = place / f"{name}.json"
    file.with_suffix(".new").write_text(json.dumps({"what": what, **asdict(outcome)}))
    file.with_suffix(".new").rename(file)
    return write_page(place)


def write_page(place: Path = PLACE) -> Path:
    """Write the page of all runs that are kept; returns its path."""
    style = (ROOT / "tests" / "system" / "report.css").read_text()
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Load</title>',
        '<meta name="viewport" content="width=device-width">',
        f"<style>{style} svg.chart {{ max-width: 900px; margin: 12px 0 }}</style></head><body>",
        "<h1>Load</h1>",
    ]
    for file in sorted(place.glob("*.json")):
        run = json.loads(file.read_text())
        parts += _soak(run) if run["what"] == "soak" else _crowd(run)
    page = place / "index.html"
    page.write_text("\n".join([*parts, "</body></html>"]))
    return page


def _crowd(run: dict[str, Any]) -> Iterator[str]:
    size, bands = run["crowd"], _bands(run)
    yield f"<h2>{escape(size['kind'])}: {escape(run['name'])}</h2>"
    stores = size["processes"] * size["candidates"] // size["on_one_store"]
    yield (
        f'<p class="facts">{size["processes"]} processes with {size["candidates"]} candidates each,'
        f" on {stores} open stores; {size['elections']} elections, ttl {size['ttl']:g} s;"
        f" {run['terms']} terms. A leader within {run['allowed']:g} s after each step is required.</p>"
    )
    yield from _faults(run)
    yield "<table><tr><th>step</th><th>longest time without a leader</th><th>all led after</th></tr>"
    for step in run["steps"]:
        yield (
            f"<tr><td>{escape(step['what'])}</td><td>{step['longest']:.2f} s</td>"
            f"<td>{step['last']:.2f} s</td></tr>"
        )
    yield "</table>"
    if run["requests"]:
        lines = {
            "requests": list(enumerate(run["requests"])),
            "new connections": list(enumerate(run["connections"])),
        }
        yield chart("requests and new connections per second, all servers", lines, bands=bands)
    yield chart("elections with a leader", {"led": run["leading"]}, bands=bands)


def _soak(run: dict[str, Any]) -> Iterator[str]:
    size, samples = run["soak"], run["samples"]
    yield f"<h2>{escape(size['kind'])}: {run['handovers']:,} hand-overs in {size['seconds']:.0f} s</h2>"
    yield (
        f'<p class="facts">{size["elections"]} elections with a candidate in each of'
        f" {size['processes']} processes; a leader resigns after {size['term']:g} s;"
        f" {run['terms']:,} terms.</p>"
    )
    yield from _faults(run)
    who = [name for name in samples[0] if name.startswith("candidates")] if samples else []
    for what, unit, factor in (
        ("memory", "memory in MiB", _MIB),
        ("threads", "threads", 1),
        ("descriptors", "descriptors", 1),
    ):
        lines = {name: [(one["at"], one[name][what] / factor) for one in samples] for name in who}
        yield chart(unit, lines)
    rates = [
        (b["at"], (b["handovers"] - a["handovers"]) / (b["at"] - a["at"]))
        for a, b in pairwise(samples)
        if b["at"] > a["at"]
    ]
    yield chart("hand-overs per second", {"hand-overs": rates})


def _faults(run: dict[str, Any]) -> Iterator[str]:
    if run["faults"]:
        yield f"<pre>{escape(chr(10).join(run['faults'][:50]))}</pre>"
    else:
        yield '<p class="facts"><b>No two leaders at a time, growing tokens, no late leader.</b></p>'


def _bands(run: dict[str, Any]) -> list[Band]:
    return [(step["since"], step["until"], step["what"]) for step in run["steps"]]
