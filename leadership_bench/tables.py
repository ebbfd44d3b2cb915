"""Tables of the results: rows for people, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .results import OURS, Results, Series
from .statistics import ratio

__all__ = ["NAMES", "Table", "number", "tables_of", "text_of"]

NAMES = {
    "zk": "ZooKeeper",
    "etcd": "etcd",
    "consul": "Consul",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "redis": "Redis",
    "kubernetes": "Kubernetes",
}
"""The stores, as people write them."""

_TITLES = {
    "calls": "Time of is_leader, beside one read of the clock",
    "import": "Time of an import in a fresh interpreter",
    "command": "Time of a command, beside an interpreter that does nothing",
    "install": "Installed distributions and their size",
    "start": "Time from the start of a candidate to its election",
    "handover": "Time from a resignation to the next leader",
    "follower": "Time from a resignation to a follower's report of the next leader",
    "crash": "Time from a crash of the leader (SIGKILL) to the next leader",
    "traffic": "Requests, bytes and writes at the server",
    "scale": "Many elections in one process",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its title, the names of its columns, and rows of as many cells."""

    figure: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float) -> str:
    """A number with two or three significant digits; a count with all of them."""
    if value >= 100 or value == round(value):
        return f"{value:,.0f}"
    if value >= 1:
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:.2g}"


def tables_of(results: Results) -> Iterator[Table]:
    """All tables, in the order in which the figures are measured."""
    stores = list(results.servers)
    for figure, title in _TITLES.items():
        # Stores that were measured at the same time are in no order.
        series = sorted(
            results.of(figure),
            key=lambda one: stores.index(one.store) if one.store in stores else -1,
        )
        if not series:
            continue
        if figure in {"traffic", "scale", "install"}:
            yield from _tables_of_counts(figure, title, series)
        else:
            yield _table_of_times(figure, title, series, results)


def _table_of_times(figure: str, title: str, series: Sequence[Series], results: Results) -> Table:
    rows = []
    for one in series:
        summary = one.summary
        if summary is None:
            continue
        compared = ""
        if one.contender != OURS:
            ours = results.find(figure, one.store, one.case)
            found = ratio(ours.values, one.values) if ours else None
            if found:
                compared = f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})"
        rows.append(
            (
                NAMES.get(one.store, one.store),
                one.case,
                one.contender,
                f"{number(summary.median)} {one.unit}",
                f"{number(summary.p99)} {one.unit}",
                str(summary.n),
                compared,
            )
        )
    columns = ("store", "case", "contender", "median", "p99", "n", "ours / theirs")
    return _without_empty_column(Table(figure, title, columns, tuple(rows)))


def _tables_of_counts(figure: str, title: str, series: Sequence[Series]) -> Iterator[Table]:
    """One row per contender and situation, with a column for each thing that was counted."""
    units = list(dict.fromkeys(one.case.rpartition(": ")[2] for one in series))
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in series:
        case, _, what = one.case.rpartition(": ")
        if one.summary is not None:
            unit = one.unit if figure in {"scale", "install"} and one.unit != what else ""
            row = rows.setdefault((one.store, case, one.contender), {})
            row[what] = f"{number(one.summary.median)} {unit}".strip()
    columns = ("store", "case", "contender", *units)
    yield _without_empty_column(
        Table(
            figure,
            title,
            columns,
            tuple(
                (NAMES.get(store, store), case, contender, *(cells.get(u, "") for u in units))
                for (store, case, contender), cells in rows.items()
            ),
        )
    )


def _without_empty_column(table: Table) -> Table:
    kept = [at for at in range(len(table.columns)) if any(row[at] for row in table.rows)]
    return Table(
        table.figure,
        table.title,
        tuple(table.columns[at] for at in kept),
        tuple(tuple(row[at] for at in kept) for row in table.rows),
    )


def text_of(results: Results, width: int) -> str:
    """All tables as text; lines are cut at that width."""
    lines = []
    for table in tables_of(results):
        lines += ["", table.title]
        sizes = [
            max(len(row[at]) for row in (table.columns, *table.rows))
            for at in range(len(table.columns))
        ]
        for row in (table.columns, *table.rows):
            cells = (cell.ljust(size) for cell, size in zip(row, sizes, strict=True))
            lines.append(f"  {'  '.join(cells)}".rstrip()[: max(width, 60)])
    missing = [one for one in results.contenders if one.missing]
    if missing:
        lines += ["", "Not measured"]
        lines += [
            f"  {one.name} on {NAMES.get(one.store, one.store)}: {one.missing}" for one in missing
        ]
    lines += [f"Note: {note}" for note in results.notes]
    if not results.complete:
        lines += ["", "The run was interrupted: these are the results until then."]
    return "\n".join(lines).lstrip("\n")
