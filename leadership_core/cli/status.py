"""The option `--http` of the commands: the status of their election over HTTP."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import output
from .arguments import Arguments

if TYPE_CHECKING:
    from ..candidate import Candidate
    from ..follower import Follower

__all__ = ["serving"]


@contextlib.contextmanager
def serving(arguments: Arguments, member: Candidate | Follower) -> Iterator[None]:
    """Serve the status of the member while entered, if `--http` was given.

    Raises:
        ConfigurationError: the server cannot listen on that address.
    """
    if arguments.http is None:
        yield
        return
    from ..status import serve  # only here: no other command pays for it

    host, port = arguments.http
    with _metrics(), serve([member], host, port) as server:
        output.print_error(f"leadership {arguments.command}", f"status: {server.url}")
        yield


def _metrics() -> contextlib.AbstractContextManager[object]:
    """Let `/metrics` have the metrics of this process while entered, if their part is installed.

    In a checkout that part can be imported without the client that it needs.
    """
    parts = "leadership_prometheus", "prometheus_client"
    if any(importlib.util.find_spec(part) is None for part in parts):
        return contextlib.nullcontext()
    return contextlib.closing(importlib.import_module("leadership_prometheus").install())
