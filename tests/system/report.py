"""Report page of the scenarios: the outcome of each fault on each store, with a timeline."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from tests.system.catalogue import ALL, FAULTS
from tests.system.run_record import PLACE, VERSION
from tests.system.scenario_index import Scenario, scenarios
from tests.system.timeline import draw, leaderless

__all__ = ["forget", "page", "read_runs", "write_page"]

_KINDS = ("consul", "etcd", "zookeeper", "sqlite")
assert set(_KINDS) == set(ALL)

_Cells = dict[tuple[str, str], list[Any]]  # the runs of each scenario and kind of store

_MOST_NAMED = 3  # faults, each with a figure of its own

_OPENS = "addEventListener('hashchange',o);o();function o(){let d=document.getElementById(decodeURIComponent(location.hash.slice(1)));if(d){d.open=true;d.scrollIntoView()}}"

_LEGEND = (
    '<p class="legend">In the timelines: a bar is a term with its token, in the colour of its'
    " candidate; what the store says has the same colours."
    '<span class="key" style="background:var(--wrong-back)"></span>a fault'
    '<span class="key" style="background:var(--good)"></span>elected, and how long after a fault'
    '<span class="key" style="background:var(--wrong)"></span>suspended, store down'
    '<span class="key" style="background:var(--bad)"></span>lost, and no leader'
    '<span class="key" style="background:var(--idle)"></span>other events, processes that are gone'
    ". Point at anything for its times.</p>"
)


def read_runs(target: Path = PLACE) -> dict[str, dict[str, Any]]:
    """Return the recorded runs by name."""
    found = {}
    for file in target.glob("*/run.json"):
        with suppress(OSError, ValueError):  # it is being replaced
            record = json.loads(file.read_text())
            if record.get("version") == VERSION:
                found[record["name"]] = record
    return found


def forget(known: Collection[str], target: Path = PLACE) -> None:
    """Delete the recorded runs of tests that are not among these pytest ids."""
    for name, run in read_runs(target).items():
        if run["test"] not in known:
            shutil.rmtree(target / name, ignore_errors=True)


def write_page(target: Path = PLACE) -> Path:
    """Write the page of all recorded runs; returns its path."""
    target.mkdir(parents=True, exist_ok=True)
    # Of several processes that do, the last one is to be the one that has read the last run.
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = target / "index.html"
        file.with_suffix(".new").write_text(page(scenarios(), read_runs(target)))
        file.with_suffix(".new").rename(file)
    return file


def page(known: Sequence[Scenario], runs: dict[str, dict[str, Any]]) -> str:
    """Return the whole page as HTML.

    Args:
        known: the scenarios that there are.
        runs: as `read_runs` returns them; those of no scenario that there still is are left out.
    """
    cells = {(one.name, kind): list[Any]() for one in known for kind in one.kinds}
    for _, run in sorted(runs.items()):
        if (run["scenario"], run["kind"]) in cells:
            cells[run["scenario"], run["kind"]].append(run)
    shown = [run for some in cells.values() for run in some]
    shown.sort(key=lambda run: (run["outcome"] != "failed", run["number"]))
    idle = sum(not some for some in cells.values())
    style = Path(__file__).with_name("report.css").read_text()
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Fault lab</title>',
            '<meta name="viewport" content="width=device-width">',
            f"<style>{style}</style></head><body>",
            '<svg width="0" height="0" style="position:absolute;min-width:0"><pattern id="hatch"',
            ' width="6" height="6" patternTransform="rotate(45)" patternUnits="userSpaceOnUse">',
            '<rect width="2.5" height="6" style="fill:var(--idle)"/></pattern></svg>',
            *_head(idle, shown),
            *_table(known, cells),
            "<h2>Runs</h2>",
            _LEGEND,
            *(_run(run) for run in shown),
            f"<script>{_OPENS}</script></body></html>",
        ]
    )


def _head(idle: int, runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    failed = sum(run["outcome"] == "failed" for run in runs)
    dates = sorted(_date(run) for run in runs)
    when = f"Runs of {dates[0]} to {dates[-1]}." if dates else "Nothing has been run yet."
    yield "<h1>Fault lab</h1>"
    yield '<div class="faint">Real stores and real processes under every fault of the list,'
    yield f" and whether there were ever two leaders. {escape(when)}</div>"
    yield '<div class="tiles">'
    yield _tile(failed, "failed", "bad" if failed else "")
    yield _tile(len(runs) - failed, "passed", "good")
    yield _tile(idle, "not run", "")
    slowest = max(
        ((one["seconds"], run) for run in runs for one in _counted(run)),
        key=lambda each: each[0],
        default=None,
    )
    if slowest is not None:
        seconds, run = slowest
        what = f"slowest to a leader, where {run['allowed']:g} s were allowed: {run['name']}"
        yield _tile(f"{seconds:.1f} s", what, "")
    yield "</div>"


def _tile(figure: object, what: str, look: str) -> str:
    return f'<div class="tile {look}"><b>{figure}</b>{escape(what)}</div>'


# -- the table ------------------------------------------------------------------------------


def _table(known: Sequence[Scenario], runs: _Cells) -> Iterator[str]:
    heads = "".join(f"<th>{kind}</th>" for kind in _KINDS)
    yield '<table><col class="number"><col>' + '<col class="cell">' * len(_KINDS)
    yield f"<thead><tr><th></th><th>fault</th>{heads}</tr></thead><tbody>"
    for number, what in FAULTS.items():
        tests = [one for one in known if one.number == number]
        cells = [_cell(tests, kind, runs) for kind in _KINDS]
        bad = ' class="bad"' if any("chip failed" in cell for cell in cells) else ""
        yield f'<tr{bad}><td class="number">{number}</td><td>{escape(what)}</td>'
        yield "".join(f'<td class="cell">{cell}</td>' for cell in cells) + "</tr>"
    yield "</tbody></table>"
    yield '<p class="legend"><span class="chip passed">✓</span>passed '
    yield '<span class="chip failed">✗</span>failed <span class="chip idle">○</span>not run '
    yield '<span class="does-not-apply">—</span> does not apply. Each is one scenario.</p>'


def _cell(tests: Sequence[Scenario], kind: str, runs: _Cells) -> str:
    chips = [
        chip
        for one in tests
        if kind in one.kinds
        for chip in [_chip(one, run) for run in runs[one.name, kind]] or [_idle(one)]
    ]
    return "".join(chips) or '<span class="does-not-apply">—</span>'


def _idle(test: Scenario) -> str:
    return f'<span class="chip idle" title="{escape(test.name)}: not run">○</span>'


def _chip(test: Scenario, run: dict[str, Any]) -> str:
    name, outcome = escape(run["name"]), run["outcome"]
    title = escape(f"{run['name']}: {outcome}, {_date(run)}\n{test.what}")
    sign = "✓" if outcome == "passed" else "✗"
    return f'<a class="chip {outcome}" href="#{name}" title="{title}">{sign}</a>'


# -- one run --------------------------------------------------------------------------------


def _run(run: dict[str, Any]) -> str:
    failed = run["outcome"] == "failed"
    longest = max((until - since for since, until in leaderless(run)), default=0.0)
    parts = [
        f'<details id="{escape(run["name"])}" class="{run["outcome"]}"{" open" if failed else ""}>',
        f'<summary><span class="chip {run["outcome"]}">{"✗" if failed else "✓"}</span>',
        f'<span class="name">{escape(run["name"])}</span>',
        f'<span class="what">{escape(run["what"])}</span>',
        f'<span class="took">no leader for {longest:.1f} s</span></summary><div class="inside">',
        f'<p class="facts">{_facts(run)}</p><div class="picture">{draw(run)}</div>',
    ]
    if failed:
        parts.append(f"<pre>{escape(run['message'])}</pre>")
    if run["files"]:
        where = "".join(
            f'<a href="{escape(run["name"])}/{escape(file)}">{escape(file)}</a> '
            for file in run["files"]
        )
        parts.append(f'<p class="facts">Logs and recordings: {where}</p>')
    if failed:
        trace = escape(run["failure"])
        parts.append(
            f"<details><summary>All that pytest says</summary><pre>{trace}</pre></details>"
        )
    return "\n".join([*parts, "</div></details>"])


def _facts(run: dict[str, Any]) -> str:
    facts = [escape(FAULTS[run["number"]]), f"ttl {run['ttl']:g} s"]
    if len(run["recoveries"]) > _MOST_NAMED:
        longest = max((one["seconds"] for one in _counted(run)), default=0.0)
        many = f"{len(run['recoveries'])} faults → a leader after at most <b>{longest:.1f} s</b>"
        facts.append(f"{many} of {run['allowed']:g} s")
    for one in run["recoveries"] if len(facts) == 2 else []:
        took = "never" if one["seconds"] is None else f"{one['seconds']:.1f} s"
        allowed = f" of {run['allowed']:g} s" if one["owed"] else ", disturbed again"
        facts.append(f"“{escape(one['what'])}” → a leader after <b>{took}</b>{allowed}")
    if run["gap"]:
        facts.append(f"a claim is taken away by hand: {run['gap']:g} s until the loss is reported")
    if run["forgets"]:
        facts.append("the store loses its data")
    facts.append(escape(_date(run)))
    return " · ".join(facts)


def _counted(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in run["recoveries"] if one["owed"] and one["seconds"] is not None]


def _date(run: dict[str, Any]) -> str:
    return f"{datetime.fromisoformat(run['at']):%Y-%m-%d %H:%M}"
