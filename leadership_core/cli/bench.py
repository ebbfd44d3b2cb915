"""The command `leadership bench`: measurements beside other clients, by the distribution leadership-bench."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from ..errors import ConfigurationError
from .arguments import Arguments, Command
from .signals import interruptible

__all__ = ["COMMAND"]

_PACKAGE = "leadership_bench"


def bench(arguments: Arguments) -> int:
    # It brings the other clients, so the core does not depend on it, and loads it only here.
    if find_spec(_PACKAGE) is None:
        from ..registry import how_to_install

        raise ConfigurationError(
            f"it needs the distribution leadership-bench, which is not installed: {how_to_install('bench')}"
        )
    command = importlib.import_module(f"{_PACKAGE}.command")
    given = arguments.bench
    options = command.Options(
        urls=arguments.urls,
        only=given.only,
        quick=given.quick,
        json=given.json_file,
        report=given.report,
        go_player=given.go_player,
        timeout=arguments.timeout,
    )
    with interruptible():
        code: int = command.run(options)
    return code


COMMAND = Command(
    name="bench",
    summary="measure this library beside other clients",
    description=(
        "Measures elections, hand-overs, crashes, traffic and memory on each store, beside the clients\n"
        "that one would use instead: kazoo, etcdctl, consul lock, python-etcd3, etcd3gw, tooz,\n"
        "grelmicro and redis-py, those that are installed. Keys are below leadership-bench/, where a\n"
        "client lets one choose them, and are deleted at the end. One URL per kind of store; without\n"
        "one, it measures that of LEADERSHIP_URL, or the embedded store in a temporary file. A run\n"
        "takes about six minutes for one store and a quarter of an hour for five, and with --quick a\n"
        "third of that. It needs the distribution leadership-bench. Do not run it on servers in use:\n"
        "it loads them."
    ),
    words=("[URL...]",),
    bench=True,
    run=bench,
)
