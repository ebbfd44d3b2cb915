"""From a URL to a store, through the plugin that claims the scheme.

The entry point of a plugin is named after the scheme, so only the one that is asked for is
imported: an unused plugin costs nothing, and a broken one hurts its own users only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from . import plugins
from .capabilities import capabilities_of
from .errors import ConfigurationError, LeadershipError, MissingPlugin, PluginError
from .installation import how_to_install
from .store import Capability, Store
from .url import StoreURL

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["installed_stores", "open_backend"]

# Of ours, so that an URL whose backend is not installed is answered with the way to get it.
_EXTRAS = {"consul": "consul", "etcd": "etcd", "zk": "zookeeper", "zookeeper": "zookeeper"}

_manager = pluggy.PluginManager(plugins.PROJECT)
_manager.add_hookspecs(plugins)


def installed_stores() -> dict[str, str]:
    """Return each URL scheme that can be opened here with the distribution that brings it.

    No plugin is imported.
    """
    return {entry.name: _origin(entry) for entry in sorted(_installed())}


def open_backend(url: StoreURL, require: Iterable[str] = ()) -> Store:
    """Open the store of a URL by its plugin.

    Args:
        url: where and how.
        require: capabilities that the store must declare.

    Raises:
        MissingPlugin: nothing that is installed serves the scheme.
        PluginError: the plugin cannot be loaded, or does not do its work.
        ConfigurationError: the plugin refuses the URL, or lacks a capability.
    """
    needed = _capabilities(require)
    entry = _entry_point(url.scheme)
    plugin = _load(entry)
    # The other plugins are left out: one that does not look at the scheme takes no one else's.
    others = [other for other in _manager.get_plugins() if other is not plugin]
    ask = _manager.subset_hook_caller("leadership_open_store", others)
    try:
        store: Store | None = ask(url=url)
    except LeadershipError:
        raise
    except Exception as error:
        raise PluginError(
            f"the plugin for {url.scheme}:// ({_origin(entry)}) failed: {error!r}"
        ) from error
    if store is None:
        raise PluginError(f"the plugin for {url.scheme}:// ({_origin(entry)}) did not take {url}")
    lacking = needed - capabilities_of(store)
    if lacking:
        store.close()
        raise ConfigurationError(f"{url.scheme}:// does not have: {', '.join(sorted(lacking))}")
    return store


def _capabilities(names: Iterable[str]) -> set[Capability]:
    try:
        return set(map(Capability, names))
    except ValueError as error:
        raise ConfigurationError(f"{error}; there are: {', '.join(Capability)}") from None


def _load(entry: EntryPoint) -> object:
    try:
        plugin: object = entry.load()
        if not _manager.is_registered(plugin):
            _register(plugin, entry.name)
    except Exception as error:
        raise PluginError(
            f"cannot load the plugin for {entry.name}:// ({_origin(entry)}): "
            f"{type(error).__name__}: {error}"
        ) from error
    return plugin


def _register(plugin: object, name: str) -> None:
    # No lock, which a fork might leave locked: of two threads, one comes second.
    try:
        _manager.register(plugin, name=name)
        _manager.check_pending()
    except ValueError:
        if not _manager.is_registered(plugin):
            raise
    except Exception:
        _manager.unregister(plugin)
        raise


def _installed() -> Iterable[EntryPoint]:
    # Imported here because it would be a third of the time that importing the core takes.
    from importlib.metadata import entry_points

    return entry_points(group=plugins.GROUP)


def _entry_point(scheme: str) -> EntryPoint:
    found = [entry for entry in _installed() if entry.name == scheme]
    if not found:
        raise MissingPlugin(_no_plugin(scheme))
    if len({entry.value for entry in found}) > 1:
        rivals = ", ".join(sorted(map(_origin, found)))
        raise PluginError(
            f"{scheme}:// is claimed by several plugins: {rivals}; uninstall all but one"
        )
    return found[0]


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _no_plugin(scheme: str) -> str:
    if scheme in _EXTRAS:
        part = _EXTRAS[scheme]
        return (
            f"{scheme}:// needs the distribution leadership-{part}, which is not installed:"
            f" {how_to_install(part)}"
        )
    known = sorted({*installed_stores(), *_EXTRAS})
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f"; did you mean {near[0]}://?" if near else ""
    return (
        f"no installed plugin serves {scheme}:// (installed: {', '.join(installed_stores())}){hint}"
    )
