"""``memory://name``: a store inside this process, the reference of what a store does.

All stores that are opened with one name share one state, which lives as long as the process;
``memory://`` without a name is a private one. Closing a store leaves its sessions to their
ttl, as the death of a process does elsewhere.
"""

from __future__ import annotations

from ..errors import URLError
from ..fork import at_fork_in_child
from ..plugins import hookimpl
from ..url import StoreURL
from .backend import MemoryStore
from .state import State

__all__ = ["MemoryStore", "State", "leadership_open_store"]

_states: dict[str, State] = {}


@hookimpl
def leadership_open_store(url: StoreURL) -> MemoryStore | None:
    """Open ``memory://[name][/prefix]``."""
    if url.scheme != "memory":
        return None
    url.read_options({})
    if url.username is not None or url.password is not None:
        raise URLError("memory:// has no users: leave out what is before the @")
    if len(url.hosts) > 1 or any(host.port for host in url.hosts):
        raise URLError("memory:// takes one name and no port: memory://name")
    return MemoryStore(_state(url.hosts[0].name if url.hosts else ""), url.prefix)


def _state(name: str) -> State:
    if not name:
        return State()
    return _states.setdefault(name, State())


# The child of a fork is another process, and what it opens there is new: the parent's states
# may be locked by threads that the child does not have.
at_fork_in_child(_states.clear)
