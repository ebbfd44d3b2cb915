"""Record of a run: a file with the data of the report page, and all logs of a failed run.

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

from tests.support.oracle import recoveries, violations
from tests.support.paths import ROOT
from tests.support.servers.process import Process
from tests.support.store_observer import Reading
from tests.support.testbed import Testbed
from tests.support.workers import Worker

__all__ = ["PLACE", "VERSION", "folder_of", "keep", "name_of", "spans"]

PLACE = ROOT / "build" / "faults"

VERSION = 4  # of the file; those of another one are left alone

_UNSEEN = 0.6  # seconds between two readings; they are some hundredths apart while there is a store
_LONGEST = 20_000  # characters of a failure that are kept
_NOT_KEPT = ("data", "old-data", "tls", "*.db", "*.db-wal", "*.db-shm")


def name_of(item: pytest.Item) -> str:
    """The folder of a run, such as "01_leader_killed-etcd"; a later run of the test replaces it."""
    return re.sub(r"[^\w.-]+", "-", item.name.removeprefix("test_"), flags=re.ASCII).strip("-")


def folder_of(item: pytest.Item) -> Path:
    """The folder of its last run."""
    return PLACE / name_of(item)


def keep(testbed: Testbed, item: pytest.Function, reports: Sequence[pytest.TestReport]) -> Path:
    """Write the record of a finished run; returns its folder."""
    folder = folder_of(item)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    failed = [one for one in reports if one.failed]
    record = _data_of(testbed)
    record |= {
        "test": item.nodeid,
        "name": name_of(item),
        "scenario": item.originalname.removeprefix("test_"),
        "number": next(mark.args[0] for mark in item.iter_markers("fault")),
        "kind": testbed.kind,
        "what": (item.function.__doc__ or "").strip().partition("\n")[0],
        "at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "version": VERSION,
        "outcome": "failed" if failed else "passed",
        "message": "\n".join([*map(_message, failed), *(_unjudged(testbed) if failed else [])])[
            :_LONGEST
        ],
        "failure": "\n\n".join(one.longreprtext for one in failed)[-_LONGEST:],
        "files": _keep_files(testbed, folder) if failed else [],
    }
    file = folder / "run.json"
    file.with_suffix(".new").write_text(json.dumps(record, indent=1))
    file.with_suffix(".new").rename(file)
    return folder


def _unjudged(testbed: Testbed) -> list[str]:
    """The violations of a scenario that ended before its oracle ran."""
    run = testbed.run()
    if run.ended < float("inf"):
        return []
    run.ended = (testbed.closed or 0) / 1e9
    return [f"until then: {one}" for one in violations(run)]


def _message(report: pytest.TestReport) -> str:
    """The message of the failure, without its location."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", report.longreprtext))


def _keep_files(testbed: Testbed, folder: Path) -> list[str]:
    """Copy the recordings, the logs and the configurations; returns their names."""
    files = folder / "files"
    with suppress(shutil.Error):  # what could be copied, was
        shutil.copytree(testbed.folder, files, ignore=shutil.ignore_patterns(*_NOT_KEPT))
    for name, process in _processes(testbed).items():
        if not process.log.is_relative_to(testbed.folder) and process.log.exists():
            shutil.copy(process.log, files / f"{name}.log")
    return sorted(str(one.relative_to(folder)) for one in files.rglob("*") if one.is_file())


def _processes(testbed: Testbed) -> dict[str, Process]:
    """All processes by name: candidates, and servers on this machine."""
    workers = testbed.fleet.workers if testbed.began else []
    nodes = testbed._cluster.nodes if testbed._cluster else [testbed._server]
    servers = {
        f"{testbed.kind} {number}" if len(nodes) > 1 else testbed.kind: node.process
        for number, node in enumerate(nodes, 1)
        if hasattr(node, "process")
    }
    return {one.who: one.process for one in workers} | servers


# -- the data -------------------------------------------------------------------------------


def _data_of(testbed: Testbed) -> dict[str, Any]:
    run = testbed.run()
    workers = testbed.fleet.workers if testbed.began else []
    began = (testbed.began or 0) / 1e9

    def ago(nanoseconds: int | None) -> float | None:
        return None if nanoseconds is None else round(nanoseconds / 1e9 - began, 4)

    def actions(taken: Iterable[tuple[int, str]]) -> list[tuple[float | None, str]]:
        return [(ago(at), what) for at, what in taken]

    candidates = {worker.who: _candidate(worker, began) for worker in workers}
    for name, process in _processes(testbed).items():
        if name in candidates:
            candidates[name]["actions"] = actions(process.actions)
    return {
        "ttl": testbed.ttl,
        "allowed": testbed.recovery,
        "gap": testbed.gap,
        "forgets": testbed.forgets,
        "ended": ago(testbed.ended),
        "closed": ago(testbed.closed),
        "candidates": [{"who": who, **fields} for who, fields in candidates.items()],
        "servers": [
            {"name": name, "actions": actions(process.actions)}
            for name, process in _processes(testbed).items()
            if name not in candidates
        ],
        "faults": [
            {"what": one.what, "since": ago(one.since), "until": ago(one.until), "heals": one.heals}
            for one in testbed.fault_log.faults
        ],
        "marks": [{"what": one.what, "at": ago(one.at)} for one in testbed.fault_log.marks],
        "store": spans(run.readings, began),
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
    recording = worker.recording.read()
    return {
        "intervals": [
            {
                "token": one.token,
                "since": round(one.since / 1e9 - began, 4),
                "until": round(max(one.since, one.until) / 1e9 - began, 4),
                "open": one.open,
            }
            for one in recording.intervals
        ],
        "events": [
            {
                "at": round(one.at / 1e9 - began, 4),
                "name": one.name,
                "token": one.token,
                "reason": one.reason,
            }
            for one in recording.events
        ],
    }


def spans(readings: Iterable[Reading], began: float) -> list[dict[str, Any]]:
    """The readings, joined while the holder is the same; times without readings are left out."""
    found: list[dict[str, Any]] = []
    for reading in readings:
        since, until = round(reading.since - began, 4), round(reading.until - began, 4)
        last = found[-1] if found else None
        token, value = (
            (reading.holder.token, reading.holder.value) if reading.holder else (None, None)
        )
        if last is not None and since - last["until"] < _UNSEEN:
            last["until"] = max(last["until"], since)
            if last["token"] == token:
                last["until"] = until
                continue
        found.append({"token": token, "value": value, "since": since, "until": until})
    return found
