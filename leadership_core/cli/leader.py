"""`leadership leader`: says who leads at this moment."""

from __future__ import annotations

from pathlib import Path

from ..internals import internals
from . import console
from .arguments import Arguments, Command
from .opening import open_shared_store
from .patience import within

__all__ = ["COMMAND"]

_NO_LEADER = 3
_CLOSE_SECONDS = 0.2  # nothing is held


def _run(arguments: Arguments) -> int:
    store = open_shared_store(arguments.url)
    assert arguments.url is not None
    try:
        key = internals(store).normalise(arguments.key)
        if arguments.url.scheme == "sqlite" and not Path(arguments.url.path).exists():
            # Looking there would create it, and a mistyped name would look like an election.
            console.complain("leadership leader", f"there is no file {arguments.url.path}")
            return _NO_LEADER
        leader = within(store, arguments.timeout, lambda: store.leader(key), retry=True)
    finally:
        store.close(_CLOSE_SECONDS)
    if leader is None:
        return _NO_LEADER
    if arguments.json:
        console.put_record(key=key, leader=leader.value, token=leader.token)
    else:
        console.put_foreign(leader.value)
    return 0


COMMAND = Command(
    name="leader",
    summary="print who leads now; exit code 3 if nobody does",
    description="Prints the leader's value and exits with 0; prints nothing and exits with 3\n"
    "when there is no leader. Into a pipe or a file the value goes byte for byte, with line breaks\n"
    "if it has any; on a terminal what cannot be printed is escaped, and a long value is cut.",
    words=("URL", "KEY"),
    run=_run,
)
