"""The contenders on each store: how each is started, and why one cannot be measured."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from .environment import version_of
from .results import OURS, ContenderRecord
from .servers import Target

__all__ = ["PROGRAMS", "Contender", "contenders_of"]

PROGRAMS = ("etcdctl elect", "Go concurrency.Election", "consul lock")
"""The contenders that are programs, by name; all others are Python libraries."""
_ETCDCTL, _GO, _CONSUL_LOCK = PROGRAMS

Parse = Callable[[str], str]
"""Translates a line that a program prints into a line of the players; empty for all others."""


@dataclass(frozen=True)
class Contender:
    """A library or a program whose candidates are measured.

    Attributes:
        name: as it is shown.
        module: of its player in `leadership_bench.players`; empty for a program.
        program: the path of a program; without `command` it takes and prints the same lines as a player.
        command: returns the arguments of the program, for a key and a candidate's value.
        parse: translates what the program prints.
        environment: variables of the program.
        fixed_ttl: why the ttl cannot be chosen; empty if it can.
        most: the most candidates in one process; 1 for a program that is one candidate.
        version: of the library or the program.
    """

    name: str
    module: str = ""
    program: str = ""
    command: Callable[[str, str], list[str]] | None = None
    parse: Parse = str
    environment: dict[str, str] = field(default_factory=dict)
    fixed_ttl: str = ""
    most: int = 1001
    version: str = ""

    @property
    def is_command(self) -> bool:
        """Whether each candidate is a run of a program, which ends when it leaves."""
        return self.command is not None

    def player(self, target: Target) -> tuple[list[str], str]:
        """The words that start a player, and the first line of its input."""
        words = [self.program] if self.program else [sys.executable, "-P", "-m", _PLAYERS]
        settings = {
            "contender": self.module,
            "url": target.url,
            "host": target.host,
            "port": target.port,
            "ttl": target.ttl,
        }
        return words, json.dumps(settings)


_PLAYERS = "leadership_bench.players"


@dataclass(frozen=True)
class _Library:
    """A contender that is a Python distribution, and the stores that it serves."""

    name: str
    module: str
    distribution: str
    imported: str
    schemes: tuple[str, ...]
    fixed_ttl: str = ""
    most: int = 1001


_LIBRARIES = (
    _Library("kazoo Election", "kazoo_election", "kazoo", "kazoo", ("zk",)),
    _Library("python-etcd3 lock", "etcd3_lock", "etcd3", "etcd3", ("etcd",), most=100),
    _Library("etcd3gw lock", "etcd3gw_lock", "etcd3gw", "etcd3gw", ("etcd",), most=100),
    _Library("tooz lock", "tooz_lock", "tooz", "tooz", ("etcd", "zk", "redis"), most=100),
    _Library("redis-py lock", "redis_lock", "redis", "redis", ("redis",), most=100),
    _Library(
        *("psycopg advisory lock", "postgres_lock", "psycopg", "psycopg", ("postgresql",)),
        fixed_ttl="it has no ttl: the server releases it when the connection ends",
        most=50,  # connections; the usual max_connections is 100
    ),
    _Library(
        *("grelmicro lock", "grelmicro_lock", "grelmicro", "grelmicro"),
        ("redis", "sqlite"),
        fixed_ttl="it does not renew itself, so its lease is 600 s here",
    ),
)


def contenders_of(
    target: Target, go_player: str = ""
) -> tuple[list[Contender], list[ContenderRecord]]:
    """Return the contenders for a store, ours first, and a record of each, also of missing ones.

    Args:
        target: the store.
        go_player: the path of the built program in `leadership_bench/go`; empty if there is none.
    """
    ours = Contender(OURS, "ours", most=10_000, version=version_of("leadership-core"))
    found = [ours]
    report = [ContenderRecord(target.scheme, OURS, ours.version)]
    for add in (_from_libraries, _from_programs):
        for one in add(target, go_player):
            if isinstance(one, Contender) and target.plain:
                report.append(ContenderRecord(target.scheme, one.name, one.version, target.plain))
            elif isinstance(one, Contender):
                found.append(one)
                report.append(ContenderRecord(target.scheme, one.name, one.version))
            else:
                report.append(one)
    return found, report


def _from_libraries(target: Target, _: str) -> list[Contender | ContenderRecord]:
    found: list[Contender | ContenderRecord] = []
    for one in _LIBRARIES:
        if target.scheme not in one.schemes:
            continue
        if importlib.util.find_spec(one.imported) is None:
            why = f"{one.distribution} is not installed"
            found.append(ContenderRecord(target.scheme, one.name, "", why))
            continue
        found.append(
            Contender(
                one.name,
                one.module,
                fixed_ttl=one.fixed_ttl,
                most=one.most,
                version=version_of(one.distribution),
            )
        )
    return found


def _from_programs(target: Target, go_player: str) -> list[Contender | ContenderRecord]:
    match target.scheme:
        case "etcd":
            return [_etcdctl(target), _go(target, go_player)]
        case "consul":
            return [_consul_lock(target)]
    return []


def _etcdctl(target: Target) -> Contender | ContenderRecord:
    name = _ETCDCTL
    program = shutil.which("etcdctl")
    if program is None:
        return ContenderRecord(target.scheme, name, "", "there is no etcdctl on PATH")

    # It prints its key, which ends with its lease, and then its value.
    def parse(line: str) -> str:
        return "elected 0" if line.startswith("candidate-") else ""

    return Contender(
        name,
        program=program,
        command=lambda key, value: ["elect", key, value],
        parse=parse,
        environment={
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": f"http://{target.host}:{target.port}",
        },
        fixed_ttl="its lease is 60 s",
        most=1,
        version=_version(program, "version"),
    )


def _go(target: Target, go_player: str) -> Contender | ContenderRecord:
    name = _GO
    if not go_player:
        why = "no Go program was built: `make bench` does that, or see --go-player"
        return ContenderRecord(target.scheme, name, "", why)
    return Contender(name, program=go_player, version=_modules(go_player))


def _consul_lock(target: Target) -> Contender | ContenderRecord:
    name = _CONSUL_LOCK
    program = shutil.which("consul")
    if program is None:
        return ContenderRecord(target.scheme, name, "", "there is no consul on PATH")
    return Contender(
        name,
        program=program,
        # The child ends when its input does, so none is left if `consul lock` is killed.
        command=lambda key, value: ["lock", "-shell=false", key, "sh", "-c", _LEADS.format(value)],
        parse=lambda line: "elected 0" if line.startswith("candidate-") else "",
        environment={"CONSUL_HTTP_ADDR": f"http://{target.host}:{target.port}"},
        fixed_ttl="its session is 15 s",
        most=1,
        version=_version(program, "version"),
    )


_LEADS = "echo {}; exec sleep 600"


def _version(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, env={**os.environ}
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    words = done.stdout.replace("v", " ").split()
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def _modules(program: str) -> str:
    """The version of etcd's client in a Go program, which names its modules in the binary."""
    import re
    from pathlib import Path

    found = re.search(rb"go\.etcd\.io/etcd/client/v3\tv([\d.]+)", Path(program).read_bytes())
    return found[1].decode() if found else ""
