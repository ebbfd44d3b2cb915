"""The page of results in Markdown, such as docs/benchmarks.md: goals, tables and charts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .charts import charts_of
from .contenders import PROGRAMS
from .goals import goals_of
from .results import Results
from .tables import NAMES, Table, tables_of

__all__ = ["write_report"]

_HEAD = """\
# Benchmarks

This page is written by `leadership bench --report`, or `make bench`; {manual} says what each figure is, and how
to measure on servers of your own. All contenders were measured in one run, on the same servers and in turn: one hand-over of
the first, one of the second, and so on; that is a round. Each ratio is of two values of one round. The tables have the median
of the ratios, and in brackets the interval that holds the true median in 95 of 100 runs. **Below 1 this library is faster.**
"""
_MANUAL = "benchmarking.md"

_EXPLANATIONS = {
    "handover": (
        "“One process”: all candidates are threads, tasks or objects of one process. “Each in a process”: the"
        " time from the line or signal that makes the leader resign to the line of the next leader, for all contenders"
        " alike. `etcdctl elect` and `consul lock` resign by ending; a new process takes their place."
    ),
    "start": (
        "A library is imported before, and has yet to connect. The time of a program includes the start of its"
        " process, since it is used in this way."
    ),
    "crash": "Contenders whose ttl cannot be chosen are left out (see the notes).",
    "traffic": (
        "Counted at the server (etcd: messages and applied proposals; ZooKeeper: packets and transactions; Consul:"
        " the index of raft; Redis: commands) and by a proxy in between (bytes, and Consul's requests). SQLite has no"
        " server: these are the write calls of the processes and their bytes. The rate of an idle pair is subtracted"
        " from a hand-over."
    ),
    "scale": (
        "Memory is that beyond what the process took before its first election. Idle is the processor time from five"
        " seconds after the last election on (two seconds, with fewer than 1,000 elections)."
    ),
    "install": "What pip has installed, with all requirements and without extras.",
}


def write_report(results: Results, page: Path) -> None:
    """Write the page, and the charts into the folder `benchmarks` beside it.

    Args:
        results: of a complete run.
        page: the Markdown file; its folder exists.
    """
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    charts = list(charts_of(results))
    names = {name for name, _, _ in charts}
    for old in folder.glob("*.svg"):
        if old.name not in names:
            old.unlink()
    for name, _, svg in charts:
        (folder / name).write_text(svg, encoding="utf-8")
    manual = f"`docs/{_MANUAL}`"
    if page.with_name(_MANUAL).exists():
        manual = f"[{_MANUAL}]({_MANUAL})"
    lines = [_HEAD.format(manual=manual), *_lines(results, charts, folder.name)]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(results: Results, charts: list[tuple[str, str, str]], folder: str) -> Iterator[str]:
    yield from _machine(results)
    yield from _goals(results)
    for table in tables_of(results):
        yield f"\n## {table.title}\n"
        if table.figure in _EXPLANATIONS:
            yield f"{_EXPLANATIONS[table.figure]}\n"
        for name, title, _ in charts:
            if name.startswith(table.figure):
                yield f"![{title}]({folder}/{name})\n"
        yield from _markdown(table)
    yield from _notes(results)


def _machine(results: Results) -> Iterator[str]:
    found = results.environment
    yield "## Machine and versions\n"
    yield (
        f"{found['date']}: {found['processors']} processors ({found['processor']}), {found['memory_gib']} GiB,"
        f" {found['system']}, Python {found['python']}, SQLite {found['sqlite']}."
        f"{' All servers ran on this machine.' if found.get('loopback') else ''}"
        f" Load average before the run {found['load_before']:g}, after it {found.get('load_after', 0):g}.\n"
    )
    servers = ", ".join(
        f"{NAMES.get(name, name)} {version}" for name, version in results.servers.items() if version
    )
    if servers:
        yield f"Servers: {servers}.\n"
    yield f"Distributions: {', '.join(f'{name} {one}' for name, one in found['versions'].items())}.\n"
    programs = {
        f"{one.name} {one.version}"
        for one in results.contenders
        if one.name in PROGRAMS and one.version and not one.missing
    }
    if programs:
        yield f"Programs: {', '.join(sorted(programs))}."


def _goals(results: Results) -> Iterator[str]:
    goals = list(goals_of(results))
    if not goals:
        return
    met = sum(goal.is_met for goal in goals)
    yield f"\n## Goals\n\nMet in this run: {met} of {len(goals)}.\n"
    yield "| what | goal | measured | |\n|---|---|---|---|"
    for goal in goals:
        state = "met" if goal.is_met else "**missed**"
        yield f"| {goal.what} | {goal.wanted} | {goal.found} | {state} |"


def _markdown(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.columns)} |"
    yield f"|{'|'.join('---' for _ in table.columns)}|"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"


def _notes(results: Results) -> Iterator[str]:
    missing = [one for one in results.contenders if one.missing]
    if not missing and not results.notes:
        return
    yield "\n## Notes\n"
    for one in missing:
        yield f"* {one.name} on {NAMES.get(one.store, one.store)} was not measured: {one.missing}."
    for note in results.notes:
        yield f"* {note}"
