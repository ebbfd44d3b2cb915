"""Makes the histories of single objects out of what processes have written down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.linearizability.judge import History
from tests.linearizability.records import Record
from tests.linearizability.worker import KEYS, TREE

__all__ = ["histories_of"]

Operation = dict[str, Any]


def histories_of(
    records: Iterable[Record], *, atomic_lists: bool, slack: float = 0.0
) -> list[History]:
    """One for each key and each tree, with what is known of the sessions and terms that matter.

    Args:
        records: of all processes.
        atomic_lists: whether a list, and the deletion of a tree, is one step; otherwise it is one
            for each key.
        slack: seconds by which a store may end a lease before its time.
    """
    records = list(records)
    _name_sessions_alike(records)
    by_folder: dict[str, list[Record]] = defaultdict(list)
    clients: dict[str, int] = {}
    for one in records:
        if one["key"] and one["outcome"] != "not done":
            one["client"] = clients.setdefault(one["who"], len(clients))
            by_folder["/".join(one["key"].split("/")[:2])].append(one)
    early = int(slack * 1e9)
    found = []
    for folder, some in sorted(by_folder.items()):
        found += [_of_key(f"{folder}/r/{name}", some, early) for name in KEYS]
        found.append(_of_fenced(f"{folder}/f", some, early))
        if atomic_lists:
            found.append(_of_tree(f"{folder}/t", some))
        else:
            found += [_of_key(f"{folder}/t/{name}", some, early) for name in TREE]
    return [one for one in found if one.operations]


def _name_sessions_alike(records: list[Record]) -> None:
    """Give sessions the names that their own processes know them by.

    On Consul an entry is bound to a session that goes with ours, and other processes see that
    one's name. It has to be the same one for all entries of a session.
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


def _of_key(key: str, records: list[Record], early: int) -> History:
    folder = key.rpartition("/")[0]
    ends = _ends_of_sessions(key, records, early)  # first: it says what was bound
    operations = [_operation(one) for one in records if one["key"] == key and one["op"] in _PLAIN]
    operations = [one for one in operations if one["op"] != "get" or one["return"]]
    for one in records:
        if one["key"] == folder and one["op"] == "list" and one["return"]:
            operations.append(_read(one, one["entries"].get(key), one["call"], one["return"]))
        elif one["key"] == folder and one["op"] == "wipe":
            operations.append(_operation(one))
    operations += _first_looks(key, records)
    return History(key, ends + operations)


def _operation(record: Record) -> Operation:
    return {name: value for name, value in record.items() if name in _FIELDS}


_FIELDS = {"op", "key", "call", "return", "client", "outcome", "expect", "old", "new", "token"}


def _read(record: Record, entry: Any, call: int, end: int) -> Operation:
    what = {"outcome": "absent"} if entry is None else {"outcome": "found", "new": entry}
    return {"op": "get", "call": call, "return": end, "client": record["client"], **what}


def _first_looks(key: str, records: list[Record]) -> list[Operation]:
    """What a watch says first is the state of some moment since it was asked for."""
    seen: dict[tuple[str, str], Record] = {}
    for one in records:
        above = one["op"] == "watch" and one["tree"] and key.startswith(f"{one['key']}/")
        if above or (one["op"] == "watch" and one["key"] == key):
            seen.setdefault((one["who"], one["name"]), one)
    return [_read(one, one["entries"].get(key), one["since"], one["call"]) for one in seen.values()]


def _ends_of_sessions(key: str, records: list[Record], early: int) -> list[Operation]:
    """A session ends when it is closed, or any time after the ttl of its last renewal."""
    tags: dict[str, set[str]] = defaultdict(set)
    until: dict[str, int] = {}
    closes: dict[str, Record] = {}
    for one in records:
        name = one.get("bound_to")
        if name is None or one["key"] != key:
            continue
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
        times = [int(until[name]) - early] if name in until else []
        times += [close["call"]] if close else []
        begun = min(times) if times else 0
        ended = close["return"] if close and close["outcome"] == "done" else 0
        found.append(
            {"op": "end", "session": tag, "call": begun, "return": ended, "client": 0, "key": key}
        )
    return found


def _of_fenced(key: str, records: list[Record], early: int) -> History:
    mine = [one for one in records if one["key"] == key]
    operations = [_operation(one) for one in mine if one["op"] in {"put", "get", "leader"}]
    operations = [one for one in operations if one["op"] == "put" or one["return"]]
    until: dict[int, int] = {}
    acquired: dict[int, Record] = {}
    released: dict[int, Record] = {}
    for one in mine:
        if one["op"] == "stands":
            until[one["token"]] = max(until.get(one["token"], 0), one["until"])
        elif one["op"] == "acquire":
            acquired[one["token"]] = one
        elif one["op"] == "release":
            released[one["token"]] = one
    seen = {one.get("token", 0) for one in operations} - {0}
    for token in acquired.keys() | seen:
        operations += _term(token, acquired.get(token), released.get(token), until, early)
    return History(key, operations)


def _term(
    token: int,
    acquired: Record | None,
    released: Record | None,
    until: dict[int, int],
    early: int,
) -> list[Operation]:
    begin = begun = end = ended = client = 0  # nobody has lived to write it down
    if acquired is not None:
        begin, begun, client = acquired["since"], acquired["at"], acquired["client"]
        end = (until[token] if token in until else acquired["at"]) - early
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
