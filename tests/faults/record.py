"""What is kept of each run: a file that the page is made of, and of a failed one everything.

All times in the file are seconds since the run began.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.stand import Stand
from tests.faults.verdict import judge, recoveries
from tests.faults.witness import Look
from tests.scenarios.fleet import ROOT, Worker
from tests.servers.process import Process

__all__ = ["PLACE", "VERSION", "folder_of", "keep", "name_of", "spans"]

PLACE = ROOT / "build" / "faults"

VERSION = 2  # of the file; those of another one are left alone

_UNSEEN = 0.6  # seconds between two looks; they are some hundredths apart while there is a store
_LONGEST = 20_000  # characters of a failure that are kept
_NOT_KEPT = ("data", "old-data", "tls", "*.db", "*.db-wal", "*.db-shm")


def name_of(item: pytest.Item) -> str:
    """The folder of a run, such as "01_leader_killed-etcd"; a later run of the test replaces it."""
    return re.sub(r"[^\w.-]+", "-", item.name.removeprefix("test_"), flags=re.ASCII).strip("-")


def folder_of(item: pytest.Item) -> Path:
    """Where its last run is kept."""
    return PLACE / name_of(item)


def keep(stand: Stand, item: pytest.Function, reports: Sequence[pytest.TestReport]) -> Path:
    """Write down a run that is over; returns its folder."""
    folder = folder_of(item)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    failed = [one for one in reports if one.failed]
    story = _story(stand)
    story |= {
        "test": item.nodeid,
        "name": name_of(item),
        "scenario": item.originalname.removeprefix("test_"),
        "number": next(mark.args[0] for mark in item.iter_markers("fault")),
        "kind": stand.kind,
        "what": (item.function.__doc__ or "").strip().partition("\n")[0],
        "at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "version": VERSION,
        "outcome": "failed" if failed else "passed",
        "message": "\n".join([*map(_message, failed), *(_unjudged(stand) if failed else [])])[
            :_LONGEST
        ],
        "failure": "\n\n".join(one.longreprtext for one in failed)[-_LONGEST:],
        "files": _keep_files(stand, folder) if failed else [],
    }
    file = folder / "run.json"
    file.with_suffix(".new").write_text(json.dumps(story, indent=1))
    file.with_suffix(".new").rename(file)
    return folder


def _unjudged(stand: Stand) -> list[str]:
    """What there is to say of a scenario that has not come to its end."""
    run = stand.run()
    if run.ended < float("inf"):
        return []
    run.ended = (stand.closed or 0) / 1e9
    return [f"until then: {one}" for one in judge(run)]


def _message(report: pytest.TestReport) -> str:
    """What went wrong, without where."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", report.longreprtext))


def _keep_files(stand: Stand, folder: Path) -> list[str]:
    """Copy the diaries, the logs and the configurations; returns their names."""
    files = folder / "files"
    with suppress(shutil.Error):  # what could be copied, was
        shutil.copytree(stand.folder, files, ignore=shutil.ignore_patterns(*_NOT_KEPT))
    for name, process in _processes(stand).items():
        if not process.log.is_relative_to(stand.folder) and process.log.exists():
            shutil.copy(process.log, files / f"{name}.log")
    return sorted(str(one.relative_to(folder)) for one in files.rglob("*") if one.is_file())


def _processes(stand: Stand) -> dict[str, Process]:
    """All that took part, by name: candidates, and servers that this machine runs."""
    workers = stand.fleet.workers if stand.began else []
    nodes = stand._cluster.nodes if stand._cluster else [stand._server]
    servers = {
        f"{stand.kind} {number}" if len(nodes) > 1 else stand.kind: node.process
        for number, node in enumerate(nodes, 1)
        if hasattr(node, "process")
    }
    return {one.who: one.process for one in workers} | servers


# -- the story ------------------------------------------------------------------------------


def _story(stand: Stand) -> dict[str, Any]:
    run = stand.run()
    workers = stand.fleet.workers if stand.began else []
    began = (stand.began or 0) / 1e9

    def ago(nanoseconds: int | None) -> float | None:
        return None if nanoseconds is None else round(nanoseconds / 1e9 - began, 4)

    def deeds(story: Iterable[tuple[int, str]]) -> list[tuple[float | None, str]]:
        return [(ago(at), what) for at, what in story]

    candidates = {worker.who: _candidate(worker, began) for worker in workers}
    for name, process in _processes(stand).items():
        if name in candidates:
            candidates[name]["deeds"] = deeds(process.story)
    return {
        "ttl": stand.ttl,
        "allowed": stand.recovery,
        "gap": stand.gap,
        "forgets": stand.forgets,
        "ended": ago(stand.ended),
        "closed": ago(stand.closed),
        "candidates": [{"who": who, **story} for who, story in candidates.items()],
        "servers": [
            {"name": name, "deeds": deeds(process.story)}
            for name, process in _processes(stand).items()
            if name not in candidates
        ],
        "faults": [
            {"what": one.what, "since": ago(one.since), "until": ago(one.until), "heals": one.heals}
            for one in stand.chronicle.faults
        ],
        "marks": [{"what": one.what, "at": ago(one.at)} for one in stand.chronicle.marks],
        "store": spans(run.looks, began),
        "recoveries": [
            {
                "what": one.what,
                "at": round(one.since - began, 4),
                "seconds": one.seconds,
                "owed": one.owed,
            }
            for one in recoveries(run)
        ],
    }


def _candidate(worker: Worker, began: float) -> dict[str, Any]:
    diary = worker.diary.read()
    return {
        "beliefs": [
            {
                "token": one.token,
                "since": round(one.since / 1e9 - began, 4),
                "until": round(max(one.since, one.until) / 1e9 - began, 4),
                "open": one.open,
            }
            for one in diary.beliefs
        ],
        "events": [
            {
                "at": round(one.at / 1e9 - began, 4),
                "name": one.name,
                "token": one.token,
                "reason": one.reason,
            }
            for one in diary.notes
        ],
    }


def spans(looks: Iterable[Look], began: float) -> list[dict[str, Any]]:
    """The store's view, look after look with the same holder as one; times without any are left out."""
    found: list[dict[str, Any]] = []
    for look in looks:
        since, until = round(look.since - began, 4), round(look.until - began, 4)
        last = found[-1] if found else None
        token, value = (look.holder.token, look.holder.value) if look.holder else (None, None)
        if last is not None and since - last["until"] < _UNSEEN:
            last["until"] = max(last["until"], since)
            if last["token"] == token:
                last["until"] = until
                continue
        found.append({"token": token, "value": value, "since": since, "until": until})
    return found
