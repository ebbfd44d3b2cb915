"""Registry of store plugins: opens the store of a URL by the plugin of its scheme.

The entry point of a plugin is named after the scheme, so only the plugin of the URL is imported: an
unused one costs nothing, and a broken one affects its own users only. Its hook is called through
pluggy, alone: pluggy's dispatch to all plugins is not used.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pluggy

from .backend import hooks as plugins
from .backend.capabilities import capabilities_of
from .backend.protocols import Capability, StoreBackend
from .backend.time_source import TimeSource
from .backend.url import StoreURL
from .backend.validation import safe_repr
from .errors import ConfigurationError, LeadershipError, MissingPlugin, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["how_to_install", "installed_stores", "open_backend"]


# This project's own backends, so that the error for one that is not installed says how to get it.
_EXTRAS = {
    "consul": "consul",
    "etcd": "etcd",
    "kubernetes": "kubernetes",
    "redis": "redis",
    "rediss": "redis",
    "redis+sentinel": "redis",
    "zk": "zookeeper",
    "zookeeper": "zookeeper",
}

_manager = pluggy.PluginManager(plugins.PROJECT)
_manager.add_hookspecs(plugins)


def installed_stores() -> dict[str, str]:
    """Return each installed URL scheme with the distribution that provides it.

    No plugin is imported.

    Example:
        >>> {"memory", "sqlite"} <= installed_stores().keys()
        True
    """
    return {entry.name: _origin(entry) for entry in sorted(_installed())}


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
    entry = _entry_point(url.scheme)
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
            f"the plugin for {url.scheme}:// ({_origin(entry)}) failed: {error!r}"
        ) from error
    if store is None:
        raise PluginError(f"the plugin for {url.scheme}:// ({_origin(entry)}) rejected {url}")
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
            f"cannot load the plugin for {entry.name}:// ({_origin(entry)}): "
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


def how_to_install(part: str) -> str:
    """Return the command that installs a backend from the source of the installed core.

    It names no other source: on a public index the name may belong to another project.

    Args:
        part: the part after the hyphen in a name such as `leadership-consul`.
    """
    # Imported here because it would be a third of the time that importing the core takes.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        core = distribution("leadership-core")
    except PackageNotFoundError:
        return f"put the folder leadership_{part} beside leadership_core, with what it depends on"
    try:
        origin = json.loads(core.read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    if not isinstance(origin, dict):
        origin = {}
    if "dir_info" in origin:  # a folder, such as a clone
        installed = Path(unquote(urlsplit(str(origin.get("url"))).path))
        folder = installed.with_name(f"leadership_{part}")
        if folder.is_dir():
            return f"pip install {shlex.quote(str(folder))}"
    version = origin.get("vcs_info")
    if isinstance(version, dict) and version.get("commit_id"):  # a repository
        where = f"{version.get('vcs')}+{origin.get('url')}@{version['commit_id']}"
        requirement = f"leadership-{part} @ {where}#subdirectory=leadership_{part}"
        return f"pip install {shlex.quote(requirement)}"
    return (
        f"pip install leadership-{part}=={core.version}, from the index or the folder of wheels that"
        f" leadership-core {core.version} was installed from"
    )
