"""`leadership leader`: prints the present leader."""

from __future__ import annotations

import sys
from pathlib import Path

from ..engine.store_base import internals
from . import output
from .arguments import Arguments
from .opening import call_with_timeout, open_shared_store

__all__ = ["leader"]

_NO_LEADER = 3
_CLOSE_SECONDS = 0.2  # there is no claim to release


def leader(arguments: Arguments) -> int:
    """Print the present leader; returns the exit code."""
    store = open_shared_store(arguments.url)
    assert arguments.url is not None
    try:
        key = internals(store).namespace.normalise(arguments.key)
        if arguments.url.scheme == "sqlite" and not Path(arguments.url.path).exists():
            # Reading would create it, and hide a mistyped name.
            output.print_error("leadership leader", f"there is no file {arguments.url.path}")
            return _NO_LEADER
        found = call_with_timeout(store, arguments.timeout, lambda: store.leader(key), retry=True)
    finally:
        store.close(_CLOSE_SECONDS)
    if found is None:
        if sys.stderr.isatty():
            output.print_error("leadership leader", f"{key} has no leader")
        return _NO_LEADER
    if arguments.json:
        output.print_record(key=key, leader=found.value, token=found.token)
    else:
        output.print_foreign(found.value)
    return 0
