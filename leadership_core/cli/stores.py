"""`leadership stores`: says which stores can be opened here."""

from __future__ import annotations

from ..registry import installed_stores
from . import console
from .arguments import Arguments, Command

__all__ = ["COMMAND"]


def _run(arguments: Arguments) -> int:
    stores = installed_stores()
    width = max(map(len, stores), default=0) + len("://")
    for scheme, origin in stores.items():
        if arguments.json:
            distribution, _, version = origin.partition(" ")
            console.put_record(scheme=scheme, distribution=distribution, version=version or None)
        else:
            console.put(f"{scheme + '://':<{width}}  {origin}")
    return 0


COMMAND = Command(
    name="stores",
    summary="list the kinds of store that are installed",
    description="Lists the URL schemes that can be opened here, each with the distribution\n"
    "that brings it.",
    run=_run,
)
