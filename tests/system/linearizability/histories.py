"""Conversion of recordings into histories of single objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.system.linearizability.judge import History
from tests.system.linearizability.records import Record
from tests.system.linearizability.worker import KEYS, TREE

__all__ = ["histories_of"]

Operation = dict[str, Any]

_FIRST_MOMENT = 10**9  # nanoseconds after a server has continued, in which it ends leases


def histories_of(
    records: Iterable[Record],
    *,
    atomic_lists: bool,
    slack: float = 0.0,
    resumed: Sequence[int] = (),
) -> list[History]:
    """Return a history for each key and each tree, with the sessions and terms that matter.

    Args:
        records: of all processes.
        atomic_lists: whether a list, and the deletion of a tree, is one step; otherwise it is one
            for each key.
        slack: seconds by which a store may end a lease before its time.
        resumed: times at which a stopped server continued that may end any lease then.
    """
    records = list(records)
    ends_at = _Ends(int(slack * 1e9), resumed)
    _name_sessions_alike(records)
    by_folder: dict[str, list[Record]] = defaultdict(list)
    clients: dict[str, int] = {}
    for one in records:
        if one["key"] and one["outcome"] != "not done":
            one["client"] = clients.setdefault(one["who"], len(clients))
            by_folder["/".join(one["key"].split("/")[:2])].append(one)
    found = []
    for folder, some in sorted(by_folder.items()):
        found += [_of_key(f"{folder}/r/{name}", some, ends_at) for name in KEYS]
        found.append(_of_fenced(f"{folder}/f", some, ends_at))
        if atomic_lists:
            found.append(_of_tree(f"{folder}/t", some))
        else:
            found += [_of_key(f"{folder}/t/{name}", some, ends_at) for name in TREE]
    return [one for one in found if one.operations]


@dataclass(frozen=True)
class _Ends:
    """The earliest end of a lease: that of its ttl, but for what a store is known to do.

    Only leases that existed when a server continued, or began just after it, may end because of it.
    """

    early: int
    resumed: Sequence[int]

    def earliest(self, begun: int, until: int) -> int:
        """The earliest end of a lease that began at one time and was to last until another."""
        at = [max(one, begun) for one in self.resumed if begun - _FIRST_MOMENT <= one < until]
        return min([until - self.early, *at])


def _name_sessions_alike(records: list[Record]) -> None:
    """Rename sessions to the ids that their own processes know.

    On Consul an entry is bound to a companion session, and other processes see the
    id of that one. It has to be the same for all entries of a session.
    """
    owners = {
        one["new"]["value"]: one["bound_to"]
        for one in records
        if one["op"] == "put" and "bound_to" in one
    }
    names = set(owners.values())
    aliases: dict[str, str] = {}
    for one in records:
        for entry in [one.get("new"), one.get("old"), *one.get("entries", {}).values()]:
            if entry and entry["session"] and entry["session"] not in names:
                known = owners.get(entry["value"], entry["session"])
                entry["session"] = aliases.setdefault(entry["session"], known)


_PLAIN = {"get", "put", "delete"}


def _of_key(key: str, records: list[Record], ends_at: _Ends) -> History:
    folder = key.rpartition("/")[0]
    ends = _ends_of_sessions(key, records, ends_at)  # first: it says what was bound
    operations = [_operation(one) for one in records if one["key"] == key and one["op"] in _PLAIN]
    operations = [one for one in operations if one["op"] != "get" or one["return"]]
    for one in records:
        if one["key"] == folder and one["op"] == "list" and one["return"]:
            operations.append(_read(one, one["entries"].get(key), one["call"], one["return"]))
        elif one["key"] == folder and one["op"] == "wipe":
            operations.append(_operation(one))
    operations += _first_reports(key, records)
    return History(key, ends + operations)


def _operation(record: Record) -> Operation:
    return {name: value for name, value in record.items() if name in _FIELDS}


_FIELDS = {"op", "key", "call", "return", "client", "outcome", "expect", "old", "new", "token"}


def _read(record: Record, entry: Any, call: int, end: int) -> Operation:
    what = {"outcome": "absent"} if entry is None else {"outcome": "found", "new": entry}
    return {"op": "get", "call": call, "return": end, "client": record["client"], **what}


def _first_reports(key: str, records: list[Record]) -> list[Operation]:
    """The first report of a watch may be any state since it was opened."""
    seen: dict[tuple[str, str], Record] = {}
    for one in records:
        above = one["op"] == "watch" and one["tree"] and key.startswith(f"{one['key']}/")
        if above or (one["op"] == "watch" and one["key"] == key):
            seen.setdefault((one["who"], one["name"]), one)
    return [_read(one, one["entries"].get(key), one["since"], one["call"]) for one in seen.values()]


def _ends_of_sessions(key: str, records: list[Record], ends_at: _Ends) -> list[Operation]:
    """A session ends when it is closed, or at any time after the ttl of its last renewal."""
    tags: dict[str, set[str]] = defaultdict(set)
    since: dict[str, int] = {}
    until: dict[str, int] = {}
    closes: dict[str, Record] = {}
    for one in records:
        name = one.get("bound_to")
        if name is None or one["key"] != key:
            continue
        since[name] = min(one["call"], since.get(name, one["call"]))
        tags[name].add(one.get("new", {}).get("session", ""))
        if one["op"] == "renew":
            until[name] = one["until"]
        elif one["op"] == "close":
            closes[name] = one
    found = []
    for name, seen in tags.items():
        tag = next(iter(seen - {""}), name)
        for one in records:  # what was written without an answer is bound, too
            if one.get("bound_to") == name and one["op"] == "put":
                one["new"] = {**one["new"], "session": tag}
        close = closes.get(name)
        times = [ends_at.earliest(since[name], int(until[name]))] if name in until else []
        times += [close["call"]] if close else []
        begun = min(times) if times else 0
        ended = close["return"] if close and close["outcome"] == "done" else 0
        found.append(
            {"op": "end", "session": tag, "call": begun, "return": ended, "client": 0, "key": key}
        )
    return found


def _of_fenced(key: str, records: list[Record], ends_at: _Ends) -> History:
    mine = [one for one in records if one["key"] == key]
    operations = [_operation(one) for one in mine if one["op"] in {"put", "get", "leader"}]
    operations = [one for one in operations if one["op"] == "put" or one["return"]]
    until: dict[int, int] = {}
    acquired: dict[int, Record] = {}
    released: dict[int, Record] = {}
    for one in mine:
        if one["op"] == "valid":
            until[one["token"]] = max(until.get(one["token"], 0), one["until"])
        elif one["op"] == "acquire":
            acquired[one["token"]] = one
        elif one["op"] == "release":
            released[one["token"]] = one
    seen = {one.get("token", 0) for one in operations} - {0}
    for token in acquired.keys() | seen:
        operations += _term(token, acquired.get(token), released.get(token), until, ends_at)
    return History(key, operations)


def _term(
    token: int,
    acquired: Record | None,
    released: Record | None,
    until: dict[int, int],
    ends_at: _Ends,
) -> list[Operation]:
    begin = begun = end = ended = client = 0  # its process died before it was recorded
    if acquired is not None:
        begin, begun, client = acquired["since"], acquired["at"], acquired["client"]
        end = ends_at.earliest(begin, until[token] if token in until else acquired["at"])
    if released is not None:
        end, ended = min(end, released["asked"]), released["at"]
    common = {"token": token, "client": client}
    return [
        {"op": "acquire", "call": begin, "return": begun, **common},
        {"op": "release", "call": end, "return": ended, **common},
    ]


def _of_tree(folder: str, records: list[Record]) -> History:
    operations = []
    for one in records:
        if one["op"] in {"list", "wipe"} and one["key"] == folder:
            if one["op"] == "list" and not one["return"]:
                continue
            operation = _operation(one)
            if one["op"] == "list":
                operation["found"] = {key: entry["value"] for key, entry in one["entries"].items()}
            operations.append(operation)
        elif one["op"] in {"put", "delete"} and one["key"].startswith(f"{folder}/"):
            operations.append(_operation(one))
    return History(folder, operations, "tree")
