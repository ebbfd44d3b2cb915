"""`leadership stores`: lists the installed kinds of store."""

from __future__ import annotations

from . import output
from .arguments import Arguments, Command

__all__ = ["COMMAND"]


def stores(arguments: Arguments) -> int:
    from ..registry import installed_stores  # only here: it imports much

    installed = installed_stores()
    width = max(map(len, installed), default=0) + len("://")
    for scheme, origin in installed.items():
        if arguments.json:
            distribution, _, version = origin.partition(" ")
            output.print_record(scheme=scheme, distribution=distribution, version=version or None)
        else:
            output.print_line(f"{scheme + '://':<{width}}  {origin}")
    return 0


COMMAND = Command(
    name="stores",
    summary="list the kinds of store that are installed",
    description="Lists the URL schemes that can be opened, each with the distribution that\n"
    "provides it.",
    run=stores,
)
