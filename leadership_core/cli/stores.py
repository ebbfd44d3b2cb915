"""`leadership stores`: lists the installed kinds of store."""

from __future__ import annotations

from . import output
from .arguments import Arguments

__all__ = ["stores"]


def stores(arguments: Arguments) -> int:
    """List the installed kinds of store; returns the exit code."""
    from ..installation import installed_stores

    installed = installed_stores()
    width = max(map(len, installed), default=0) + len("://")
    for scheme, origin in installed.items():
        if arguments.json:
            distribution, _, version = origin.partition(" ")
            output.print_record(scheme=scheme, distribution=distribution, version=version or None)
        else:
            output.print_line(f"{scheme + '://':<{width}}  {origin}")
    return 0
