"""Check that watches report states in order, and none twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.system.linearizability.records import Record

__all__ = ["count_reports", "watch_problems"]


def count_reports(records: Iterable[Record]) -> int:
    """The number of reports of all watches."""
    return sum(one["op"] == "watch" for one in records)


def watch_problems(records: Iterable[Record]) -> list[str]:
    """Return states reported after a later one; a deleted entry returns with a new revision."""
    by_watch: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for one in records:
        if one["op"] == "watch":
            by_watch[one["who"], one["name"]].append(one)
    found = []
    for name, some in by_watch.items():
        last: dict[str, int] = {}
        gone: set[str] = set()
        for one in some:
            for key in last.keys() - one["entries"].keys():
                gone.add(key)
            for key, entry in one["entries"].items():
                before, revision = last.get(key, 0), entry["revision"]
                if revision < before:
                    found.append(f"{name}: {key} went back from {before} to {revision}")
                elif revision == before and key in gone:
                    found.append(f"{name}: {key} came back with revision {revision}")
                gone.discard(key)
                last[key] = max(before, revision)
    return found
