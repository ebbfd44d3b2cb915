"""The measured figures, the simulated case and the tables of docs/scale.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import date
from math import inf
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.servers.provision import locate
from tests.system.load.chart import chart
from tests.system.load.constants import TTL, measure
from tests.system.load.large_case import Case, Outcome, formulas, simulate

__all__ = ["CASES", "PAGE", "filled", "write_constants", "write_largest", "write_page"]

PAGE = ROOT / "docs" / "scale.md"
FOLDER = ROOT / "docs" / "scale"

_NAMES = {
    "etcd": "etcd",
    "zookeeper": "ZooKeeper",
    "consul": "Consul",
    "postgres": "PostgreSQL",
    "redis": "Redis",
    "sqlite": "SQLite",
}
_ROWS = {
    "renewal": "a renewal, for all elections of a session",
    "elected": "a candidate, until it leads",
    "waiting": "a candidate, until it waits",
    "follower": "a follower, until it knows the leader",
    "elected_in_10_s": "a leader, in 10 s",
    "waiting_in_10_s": "a waiting candidate, in 10 s",
    "follower_in_10_s": "a follower, in 10 s",
    "handover": "a hand-over, one waiting",
}

_FIFTH = Case(processes=2_000, outage=(60.0, 80.0), until=130.0)
CASES = {
    "whole, no limit": Case(outage=(60.0, 80.0), until=110.0),
    "a fifth, 4,000/s": replace(_FIFTH, capacity=4_000),
    "a fifth, 2,000/s": replace(_FIFTH, capacity=2_000),
    "a fifth, 2,000/s, ttl 30 s": replace(
        _FIFTH, capacity=2_000, ttl=30.0, outage=(60.0, 100.0), until=160.0
    ),
}
"""What is simulated: ten thousand processes with ten candidates each, or a fifth of them, by the capacity of the servers."""

Report = Callable[[str], None]


def write_constants(kinds: Sequence[str], report: Report, folder: Path = FOLDER) -> None:
    """Measure, and write the file of constants; stores that are not named keep their figures."""
    file = folder / "constants.json"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        found = {
            "release": locate(kind).version if kind != "sqlite" else "",
            "measured": date.today().isoformat(),  # noqa: DTZ011 - a day, for readers
            "ttl": TTL,
            **measure(kind, report=report),
        }
        kept = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**kept, kind: found}, indent=1) + "\n")


def write_largest(report: Report, names: Sequence[str] = (), folder: Path = FOLDER) -> None:
    """Simulate the cases, and write their files and their plots; the largest take minutes.

    Args:
        report: called with a line for each ten simulated seconds.
        names: of the cases; the others keep their figures.
        folder: for the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        case = CASES[name]
        report(f"{name}: {case}")
        outcome = simulate(case, report)
        lines: dict[str, list[tuple[float, float]]] = {
            "all requests": list(enumerate(outcome.total())),
            "renewals": list(enumerate(outcome.demand["renew"])),
        }
        steady = formulas(case)["renewals"]
        lines["renewals by the formula"] = [(0, steady), (case.until - 1, steady)]
        size = f"{case.processes:,} processes with {case.elections} candidates, ttl {case.ttl:g} s"
        title = f"requests per second of {size}; servers: {name}"
        bands = [(*case.outage, "the store is away")]
        picture = chart(title, lines, bands=bands, dashed=["renewals by the formula"])
        file = folder / f"largest-case-{_slug(name)}"
        file.with_suffix(".svg").write_text(picture)
        file.with_suffix(".json").write_text(json.dumps(_figures(outcome), indent=1) + "\n")


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.replace(",000", "000")).strip("-")


def _figures(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    out, back = case.outage
    quiet = (out - 25, out)
    simulated = {
        "renewals": outcome.mean("renew", *quiet),
        "start": sum(
            sum(counts[: int(out)])
            for kind, counts in outcome.demand.items()
            if kind in {"open", "enter", "status"}
        )
        + case.processes * case.renewal_requests,
        "most_at_start": outcome.most(0, out - 25),
        "tries": outcome.mean("open", back - 5, back),
        "reconnect": outcome.most(back, case.until),
        "all_led": outcome.all_led,
        "all_led_again": outcome.all_led_again,
        "sessions": outcome.sessions,
    }
    size = {name: _finite(value) for name, value in asdict(case).items()}
    return {
        "case": size,
        "formula": {name: round(value) for name, value in formulas(case).items()},
        "simulated": {name: _finite(value) for name, value in simulated.items()},
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return None if value == inf else round(value, 1)
    return value


# -- the page --------------------------------------------------------------------------------


def write_page(page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Write the tables into the page, in place of those between its marks."""
    page.write_text(filled(page.read_text(), folder))


def filled(text: str, folder: Path = FOLDER) -> str:
    """The text of the page, with the tables of the present files."""
    constants = json.loads((folder / "constants.json").read_text())
    largest = {
        name: json.loads((folder / f"largest-case-{_slug(name)}.json").read_text())
        for name in CASES
    }
    tables = {
        "constants": _constants(constants),
        "sizes": _sizes(constants),
        "largest": _largest(largest),
    }
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        assert rest, f"the page has no mark {begin}"
        text = "\n".join([before + begin, *lines, end + rest.partition(end)[2]])
    return text


def _constants(found: dict[str, Any]) -> Iterator[str]:
    yield "| | store | requests | bytes | client's packets | writes | server, ms | client, ms | client, KiB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row, what in _ROWS.items():
        for kind, title in _NAMES.items():
            if kind in found and row in found[kind]:
                cells = [_cell(kind, row, name, found[kind][row]) for name in _COLUMNS]
                yield f"| {what} | {title} | {' | '.join(cells)} |"
                what = ""  # noqa: PLW2901 - named once


_COLUMNS = ("requests", "bytes", "pieces", "writes", "server_ms", "client_ms", "memory_kib")
_WITH_MEMORY = ("elected", "waiting", "follower")


def _cell(kind: str, row: str, name: str, values: dict[str, float]) -> str:
    if (kind == "sqlite" and name not in {"client_ms", "memory_kib"}) or (
        name == "memory_kib" and row not in _WITH_MEMORY
    ):
        return "\N{EN DASH}"
    return _number(max(0.0, values[name]))


_SIZES = ((100, 1_000), (1_000, 10_000), (10_000, 100_000))
_TTL = 15.0


def _sizes(found: dict[str, Any]) -> Iterator[str]:
    yield (
        "| processes, elections | store | requests/s | writes/s | packets of clients/s"
        " | processor cores of the servers | requests when all start | MiB of a process |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for processes, elections in _SIZES:
        what = f"{processes:,}, {elections:,}"
        for kind in [one for one in _NAMES if one != "sqlite"]:
            if kind in found:
                cells = " | ".join(
                    _number(one) for one in _size(kind, found[kind], processes, elections)
                )
                yield f"| {what} | {_NAMES[kind]} | {cells} |"
                what = ""


def _size(kind: str, found: dict[str, Any], processes: int, elections: int) -> list[float]:
    """The figures of one row: each election has one leader, one that waits, and one follower."""

    def each_second(name: str) -> float:
        each = found["renewal"][name]
        renewal = each * processes / (0.3 * _TTL)
        if name == "pieces" and kind == "zookeeper":  # heartbeats follow the tick, not the ttl
            heartbeats = each - found["renewal"]["requests"]
            renewal += heartbeats * processes * (1 / (0.3 * TTL) - 1 / (0.3 * _TTL))
        quiet = [found[f"{row}_in_10_s"][name] / 10 for row in _WITH_MEMORY]
        handovers = found["handover"][name] * elections / 3600
        return float(
            max(0.0, renewal) + elections * sum(max(0.0, one) for one in quiet) + handovers
        )

    start = processes * (1 + found["renewal"]["requests"])
    start += elections * sum(found[row]["requests"] for row in _WITH_MEMORY)
    kib = found["session_kib"]
    kib += elections / processes * sum(max(0.0, found[row]["memory_kib"]) for row in _WITH_MEMORY)
    return [
        each_second("requests"),
        each_second("writes"),
        each_second("pieces"),
        each_second("server_ms") / 1000,
        start,
        kib / 1024,
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _largest(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"| | {' | '.join(rows)} |"
    yield f"|---|{'---|' * len(rows)}"
    for what, formula, simulated in (
        ("renewals per second while nothing happens", "renewals", "renewals"),
        ("requests until all are elected", "start", "start"),
        ("the most requests in a second at the start", "", "most_at_start"),
        ("tries per second to open a session during the outage", "tries", "tries"),
        ("the most requests in a second after the outage", "reconnect", "reconnect"),
        ("seconds until all elections are led, from the start", "", "all_led"),
        ("seconds until all are led again, from the end of the outage", "", "all_led_again"),
        ("sessions opened in all", "", "sessions"),
    ):
        cells = []
        for row in rows.values():
            value = row["simulated"][simulated]
            cell = "never" if value is None else f"{value:,.0f}"
            limited = row["case"]["capacity"] is not None and formula == "reconnect"
            by_formula = f" (formula {row['formula'][formula]:,})" if formula else ""
            cells.append(cell if limited else cell + by_formula)
        yield f"| {what} | {' | '.join(cells)} |"
