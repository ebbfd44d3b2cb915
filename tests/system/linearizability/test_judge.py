"""The judge on histories made by hand: each kind of wrong result is found.

Beside each one there is the history without it, which is right: also one in which an operation got
no answer, which may have taken effect at any time, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.system.linearizability.histories import histories_of
from tests.system.linearizability.judge import History, judge
from tests.system.linearizability.records import Record
from tests.system.linearizability.watches import watch_problems

_FOLDER = "h/1"
_KEY = f"{_FOLDER}/r/k0"
_BOUND = f"{_FOLDER}/r/s0"
_FENCED = f"{_FOLDER}/f"
_TREE = f"{_FOLDER}/t"
_SECOND = 10**9

Step = tuple[str, str, dict[str, Any]]


def entry(value: str, revision: int, session: str = "") -> Record:
    return {"value": value, "revision": revision, "session": session}


def put(value: str, revision: int = 0, key: str = _KEY, **what: Any) -> Step:
    """A write; without a revision, one without an answer."""
    session = what.get("bound_to", "")
    what = {"expect": "any", "outcome": "done" if revision else "", **what}
    return "put", key, {"new": entry(value, revision, session), **what}


def compare(old: Record, value: str, outcome: str, revision: int = 0) -> Step:
    return put(value, revision, expect="entry", old=old, outcome=outcome)


def create(value: str, outcome: str, revision: int = 0) -> Step:
    return put(value, revision, expect="absent", outcome=outcome)


def get(found: Record | None, key: str = _KEY) -> Step:
    if found is None:
        return "get", key, {"outcome": "absent"}
    return "get", key, {"outcome": "found", "new": found}


def delete(outcome: str, key: str = _KEY, **what: Any) -> Step:
    return "delete", key, {"outcome": outcome, "expect": "any", **what}


def listed(folder: str, *entries: tuple[str, Record]) -> Step:
    found = {f"{folder}/{name}": one for name, one in entries}
    return "list", folder, {"outcome": "found", "entries": found}


def acquire(token: int) -> Step:
    return "acquire", _FENCED, {"token": token}


def valid(token: int, seconds: float) -> Step:
    return "valid", _FENCED, {"token": token, "seconds": seconds}


def release(token: int, *, confirmed: bool = True) -> Step:
    return "release", _FENCED, {"token": token, "confirmed": confirmed}


def fenced(token: int, value: str, outcome: str, revision: int = 0) -> Step:
    return put(value, revision, _FENCED, token=token, outcome=outcome)


def leads(token: int) -> Step:
    return "leader", _FENCED, {"token": token, "outcome": "found"}


def renew(session: str, seconds: float) -> Step:
    return "renew", _BOUND, {"bound_to": session, "seconds": seconds}


def close(session: str, outcome: str = "done") -> Step:
    return "close", _BOUND, {"bound_to": session, "outcome": outcome}


def watched(*entries: tuple[str, Record], name: str = "w", since: float = 0.0) -> Step:
    found = {f"{_FOLDER}/r/{key}": one for key, one in entries}
    return "watch", f"{_FOLDER}/r", {"tree": True, "name": name, "ago": since, "entries": found}


def recorded(steps: list[Step]) -> list[Record]:
    """Records of a process whose calls follow each other, each in one second."""
    found = []
    for number, (op, key, what) in enumerate(steps, 1):
        call = number * _SECOND
        one = {"id": number, "who": "p1", "op": op, "key": key, "outcome": "", **what, "call": call}
        one["return"] = call + _SECOND // 2 if one["outcome"] else 0
        if op == "acquire":
            one |= {"since": call, "at": call + _SECOND // 2}
        elif op == "release":
            one |= {"asked": call, "at": call + _SECOND // 2 if what["confirmed"] else 0}
        elif op in {"valid", "renew"}:
            one["until"] = call + int(what["seconds"] * _SECOND)
        elif op == "watch":
            one["since"] = call - int(what["ago"] * _SECOND)
        found.append(one)
    return found


def wrong(
    steps: list[Step], *, atomic_lists: bool = True, resumed: Sequence[float] = ()
) -> list[str]:
    """The violations found by the judge and by the check of watches."""
    records = recorded(steps)
    times = [int(one * _SECOND) for one in resumed]
    verdicts = judge(histories_of(records, atomic_lists=atomic_lists, resumed=times))
    return [str(one) for one in verdicts if one.result != "ok"] + watch_problems(records)


_ONE, _TWO = entry("one", 1), entry("two", 2)
_LED = [acquire(5), valid(5, 20), fenced(5, "one", "done", 1)]

_RIGHT: dict[str, list[Step]] = {
    "plain": [put("one", 1), get(_ONE), compare(_ONE, "two", "done", 2), get(_TWO),
              compare(_ONE, "three", "conflict"), create("four", "conflict"), delete("done"),
              delete("absent"), get(None), create("five", "done", 7)],
    "a write without an answer took effect late": [
        put("one", 1), put("two"), get(_ONE), get(entry("two", 9)), get(entry("two", 9))],
    "a write without an answer never took effect": [put("one", 1), put("two"), get(_ONE)],
    "a deletion without an answer": [put("one", 1), delete(""), get(_ONE), get(None)],
    "terms": [*_LED, leads(5), release(5), fenced(5, "late", "fenced"), leads(0), acquire(6),
              fenced(6, "two", "done", 2), leads(6)],
    "a term whose process was killed": [*_LED, *[get(None)] * 22, acquire(6), leads(6)],
    "a term that was not recorded before its process died": [leads(5), leads(0), acquire(6), leads(6)],
    "sessions": [renew("s", 9), put("one", 1, _BOUND, bound_to="s"),
                 get(entry("one", 1, "s"), _BOUND), close("s"), get(None, _BOUND)],
    "a session that was left to its ttl": [
        renew("s", 1), put("one", 1, _BOUND, bound_to="s"), get(entry("one", 1, "s"), _BOUND),
        get(None, _BOUND)],
    "trees": [put("one", 1, f"{_TREE}/a"), put("two", 2, f"{_TREE}/b"),
              listed(_TREE, ("a", _ONE), ("b", _TWO)), ("wipe", _TREE, {"outcome": "done"}),
              listed(_TREE)],
    "watches": [put("one", 1), watched(("k0", _ONE), since=0.4), put("two", 2),
                watched(("k0", _TWO)), watched()],
}  # fmt: skip

_WRONG: dict[str, list[Step]] = {
    "a stale read": [put("one", 1), put("two", 2), get(_ONE)],
    "a read of what is gone": [put("one", 1), delete("done"), get(_ONE)],
    "a read of what was never written": [put("one", 1), get(entry("three", 3))],
    "a read with a wrong revision": [put("one", 1), get(entry("one", 2))],
    "a read that goes back": [put("one", 1), put("two"), get(entry("two", 2)), get(_ONE)],
    "a lost write": [put("one", 1), get(None)],
    "a write that was not done and took effect": [
        put("one", 1), put("two", outcome="not done"), get(_TWO)],
    "compare-and-set on another value": [
        put("one", 1), put("two", 2), compare(_ONE, "three", "done", 3)],
    "compare-and-set on an entry that was made again": [
        put("one", 1), delete("done"), put("two", 2), compare(_ONE, "three", "done", 3)],
    "a conflict with what is there": [put("one", 1), compare(_ONE, "two", "conflict")],
    "a creation over what is there": [put("one", 1), create("two", "done", 2)],
    "a conflict with what is not there": [create("one", "conflict")],
    "a deletion of what is not there": [delete("done")],
    "not there, and it is": [put("one", 1), delete("absent")],
    "fenced though the term is valid": [*_LED, fenced(5, "two", "fenced")],
    "a late fenced write": [*_LED, release(5), acquire(6), fenced(5, "two", "done", 2)],
    "a fenced write after the release": [*_LED, release(5), fenced(5, "two", "done", 2)],
    "two terms at once": [*_LED, acquire(6)],
    "a leader whose term is over": [*_LED, release(5), acquire(6), leads(5)],
    "no leader though a term is valid": [*_LED, leads(0)],
    "an entry of a session that was closed": [
        renew("s", 9), put("one", 1, _BOUND, bound_to="s"), close("s"),
        get(entry("one", 1, "s"), _BOUND)],
    "an entry whose session is valid and that is gone": [
        renew("s", 9), put("one", 1, _BOUND, bound_to="s"), get(None, _BOUND)],
    "an entry that is bound to another session": [
        renew("s", 9), renew("t", 9), put("one", 1, _BOUND, bound_to="t"),
        put("two", 2, _BOUND, bound_to="s"), get(entry("two", 2, "t"), _BOUND)],
    "a list that misses an entry": [
        put("one", 1), put("two", 2, f"{_FOLDER}/r/k1"),
        listed(f"{_FOLDER}/r", ("k0", _ONE))],
    "a list with an entry that is gone": [
        put("one", 1), delete("done"), listed(f"{_FOLDER}/r", ("k0", _ONE))],
    "a list of two moments": [
        put("one", 1, f"{_TREE}/a"), put("two", 2, f"{_TREE}/b"), put("three", 3, f"{_TREE}/a"),
        listed(_TREE, ("a", entry("three", 3)))],
    "a tree of which something is left": [
        put("one", 1, f"{_TREE}/a"), ("wipe", _TREE, {"outcome": "done"}),
        listed(_TREE, ("a", _ONE))],
    "a watch that begins with an old state": [
        put("one", 1), put("two", 2), watched(("k0", _ONE), since=0.4)],
    "a watch that goes back": [
        put("one", 1), watched(("k0", _ONE), since=0.4), put("two", 2), watched(("k0", _TWO)),
        watched(("k0", _ONE))],
    "a watch that brings back what was gone": [
        put("one", 1), watched(("k0", _ONE), since=0.4), delete("done"), watched(),
        watched(("k0", _ONE))],
}  # fmt: skip


@pytest.mark.build
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _RIGHT)
def test_linearizable_history_passes(name: str) -> None:
    """Operations without an answer may take effect at any time, or never."""
    assert wrong(_RIGHT[name]) == []


@pytest.mark.build
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _WRONG)
def test_wrong_result_is_found(name: str) -> None:
    """Each history has one wrong result."""
    assert wrong(_WRONG[name])


@pytest.mark.build
@pytest.mark.timeout(600)
def test_leases_may_end_when_a_stopped_server_continues() -> None:
    """A term or a session of that moment may have ended, but neither before nor a later one."""
    bound = [renew("s", 9), put("one", 1, _BOUND, bound_to="s"), get(None, _BOUND)]

    for ended in ([*_LED, leads(0)], [*_LED, acquire(6)], [*_LED, fenced(5, "two", "fenced")]):
        assert wrong(ended, resumed=[3.7]) == []
        assert wrong(ended, resumed=[4.7])  # only after that
        assert wrong(ended, resumed=[-0.5])  # before the term began
    assert wrong(bound, resumed=[2.7]) == []
    assert wrong(bound, resumed=[3.7])
    assert wrong([*_LED, leads(0), fenced(5, "two", "done", 2)], resumed=[3.7])


@pytest.mark.build
@pytest.mark.timeout(600)
def test_lists_that_are_not_atomic_are_judged_key_by_key() -> None:
    """A list of ZooKeeper must contain every key that existed all the time."""
    steps = [put("one", 1, f"{_TREE}/a"), put("two", 2, f"{_TREE}/b"),
             put("three", 3, f"{_TREE}/a"), listed(_TREE, ("a", entry("three", 3)))]  # fmt: skip
    assert wrong(steps, atomic_lists=False)
    records = recorded(steps)
    records[-1]["call"] = 0  # it began before all that, looked for `b`, and for `a` at the end

    assert all(one.result == "ok" for one in judge(histories_of(records, atomic_lists=False)))
    assert any(one.result == "illegal" for one in judge(histories_of(records, atomic_lists=True)))


@pytest.mark.build
@pytest.mark.timeout(600)
def test_undecided_history_is_reported() -> None:
    """The judge has run out of time."""
    operations = [
        {"op": "put", "call": 1, "return": 0, "client": number, "expect": "any",
         "new": entry(str(number), 0)} for number in range(22)
    ]  # fmt: skip
    operations += [
        {
            "op": "get",
            "call": 2,
            "return": 3,
            "client": 30,
            "outcome": "found",
            "new": entry("x", 1),
        }
    ]

    (verdict,) = judge([History("key", operations)], seconds=0.2)

    assert verdict.result == "unknown"
