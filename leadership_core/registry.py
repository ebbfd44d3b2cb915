"""Registry of store plugins: opens the store of a URL by the plugin of its scheme.

The entry point of a plugin is named after the scheme, so only the plugin of the URL is imported: an
unused one costs nothing, and a broken one affects its own users only. Its hook is called through
pluggy, alone: pluggy's dispatch to all plugins is not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from .backend import hooks as plugins
from .backend.capabilities import capabilities_of
from .backend.protocols import Capability, StoreBackend
from .backend.time_source import TimeSource
from .backend.url import StoreURL
from .backend.validation import safe_repr
from .errors import ConfigurationError, LeadershipError, PluginError
from .installation import entry_point_of, origin_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["open_backend"]


_manager = pluggy.PluginManager(plugins.PROJECT)
_manager.add_hookspecs(plugins)


def open_backend(
    url: StoreURL, require: Iterable[str] = (), clock: TimeSource | None = None
) -> StoreBackend:
    """Open the store of a URL by its plugin.

    Args:
        url: the URL of the store.
        require: capabilities that the store must declare.
        clock: of the store, in place of the machine's; for `memory://` alone.

    Raises:
        MissingPlugin: no installed plugin serves the scheme.
        PluginError: the plugin cannot be loaded, or fails.
        ConfigurationError: the plugin refuses the URL, the store lacks a capability, or takes no clock.
    """
    try:
        needed = set(map(Capability, require))
    except ValueError as error:
        raise ConfigurationError(f"{error}; there are: {', '.join(Capability)}") from None
    if clock is not None:
        return _open_on(clock, url, needed)
    entry = entry_point_of(url.scheme)
    plugin = _load(entry)
    # The other plugins are not asked: one that ignores the scheme would take the URLs of others.
    others = [other for other in _manager.get_plugins() if other is not plugin]
    ask = _manager.subset_hook_caller("leadership_open_store", others)
    try:
        store: StoreBackend | None = ask(url=url)
    except LeadershipError:
        raise
    except Exception as error:
        raise PluginError(
            f"the plugin for {url.scheme}:// ({origin_of(entry)}) failed: {error!r}"
        ) from error
    if store is None:
        raise PluginError(f"the plugin for {url.scheme}:// ({origin_of(entry)}) rejected {url}")
    return _checked(store, url, needed)


def _open_on(clock: TimeSource, url: StoreURL, needed: set[Capability]) -> StoreBackend:
    if url.scheme != "memory":
        raise ConfigurationError(f"{url.scheme}:// runs on real time: only memory:// takes a clock")
    if not isinstance(clock, TimeSource):
        raise ConfigurationError(
            f"the clock must be a leadership_core.testing.VirtualClock, not {safe_repr(clock)}"
        )
    from .stores import memory  # only here: the core imports no store

    return _checked(memory.open_on(clock, url), url, needed)


def _checked(store: StoreBackend, url: StoreURL, needed: set[Capability]) -> StoreBackend:
    lacking = needed - capabilities_of(store)
    if lacking:
        store.close()
        raise ConfigurationError(f"{url.scheme}:// has no {', '.join(sorted(lacking))}")
    return store


def _load(entry: EntryPoint) -> object:
    try:
        plugin: object = entry.load()
        if not _manager.is_registered(plugin):
            _register(plugin, entry.name)
    except Exception as error:
        raise PluginError(
            f"cannot load the plugin for {entry.name}:// ({origin_of(entry)}): "
            f"{type(error).__name__}: {error}"
        ) from error
    return plugin


def _register(plugin: object, name: str) -> None:
    # Without a lock, which a fork might leave locked: of two threads, the second finds it registered.
    try:
        _manager.register(plugin, name=name)
        _manager.check_pending()
    except ValueError:
        if not _manager.is_registered(plugin):
            raise
    except Exception:
        _manager.unregister(plugin)
        raise
