"""The store `memory://NAME`: entries and sessions in this process, the reference implementation.

All stores that are opened with the same name share one state, which lives as long as the process;
``memory://`` without a name opens a private one. Closing a store does not end its sessions: they
expire after their ttl, as they do on a server when a process crashes.

With a clock, a name belongs to it as long as a store of that name is open: a later `open_store`
without a clock joins it, and one with another clock is refused.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from ...backend.fork import at_fork_in_child
from ...backend.hooks import hookimpl
from ...backend.protocols import StoreBackend
from ...backend.time_source import TimeSource
from ...backend.url import StoreURL
from ...errors import ConfigurationError, URLError
from .state import State
from .store import MemoryStore

__all__ = ["MemoryStore", "State", "leadership_open_store", "open_on"]

_CURE = "close it, or use another name"

_states: dict[str, State] = {}
_on_clocks: WeakValueDictionary[str, State] = WeakValueDictionary()  # gone with their stores


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open ``memory://[name][/prefix]``."""
    return open_on(None, url) if url.scheme == "memory" else None


def open_on(time_source: TimeSource | None, url: StoreURL) -> StoreBackend:
    """Open ``memory://[name][/prefix]`` on a clock, or on that of the name.

    Raises:
        URLError: the URL has other parts.
        ConfigurationError: the name is open on another clock.
    """
    url.read_options({})
    if url.username is not None or url.password is not None:
        raise URLError("memory:// has no users: leave out what is before the @")
    if len(url.hosts) > 1 or any(host.port for host in url.hosts):
        raise URLError("memory:// takes one name and no port: memory://name")
    name = url.hosts[0].name if url.hosts else ""
    state = _state_of(name, time_source)
    store = MemoryStore(state, url.prefix)
    return store if state.wrap is None else state.wrap(store)


def _state_of(name: str, time_source: TimeSource | None) -> State:
    if not name:
        return State(time_source)
    virtual, real = _on_clocks.get(name), _states.get(name)
    if virtual is not None and virtual.stores:
        if time_source not in {None, virtual.time_source}:
            raise ConfigurationError(f"memory://{name} is open on another clock: {_CURE}")
        return virtual
    if time_source is None:
        return _states.setdefault(name, State())
    if real is not None and real.stores:
        raise ConfigurationError(f"memory://{name} is open on the machine's clock: {_CURE}")
    state = _on_clocks[name] = State(time_source)
    return state


# A forked child opens new states: the inherited ones may be locked by threads that do not exist
# in the child.
at_fork_in_child(_states.clear)
at_fork_in_child(_on_clocks.clear)
