"""The command `leadership bench`: measurements beside other clients, by the distribution leadership-bench."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from ..errors import ConfigurationError
from .arguments import Arguments
from .signals import interruptible

__all__ = ["bench"]

_PACKAGE = "leadership_bench"


def bench(arguments: Arguments) -> int:
    """Measure, beside other clients; returns the exit code."""
    # It brings the other clients, so the core does not depend on it, and loads it only here.
    if find_spec(_PACKAGE) is None:
        from ..installation import how_to_install

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
