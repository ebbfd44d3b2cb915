"""What is installed: the stores of all distributions, and how to install another one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import MissingPlugin, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["entry_point_of", "how_to_install", "installed_stores", "origin_of"]

_GROUP = "leadership.stores"
"""The entry-point group: a name is a URL scheme, its value the package of the plugin."""

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


def installed_stores() -> dict[str, str]:
    """Return each installed URL scheme with the distribution that provides it.

    No plugin is imported.

    Example:
        >>> {"memory", "sqlite"} <= installed_stores().keys()
        True
    """
    return {entry.name: origin_of(entry) for entry in sorted(_installed())}


def entry_point_of(scheme: str) -> EntryPoint:
    """Return the entry point of the one plugin that serves the scheme.

    Raises:
        MissingPlugin: there is none; the message says how to install one of this project's.
        PluginError: there are several.
    """
    found = [entry for entry in _installed() if entry.name == scheme]
    if not found:
        raise MissingPlugin(_no_plugin(scheme))
    if len({entry.value for entry in found}) > 1:
        rivals = ", ".join(sorted(map(origin_of, found)))
        raise PluginError(
            f"{scheme}:// is claimed by several plugins: {rivals}; uninstall all but one"
        )
    return found[0]


def origin_of(entry: EntryPoint) -> str:
    """Return the distribution of an entry point with its version, for people."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _installed() -> Iterable[EntryPoint]:
    # Imported here because it takes as long as all else that a program imports to make a candidate.
    from importlib.metadata import entry_points

    return entry_points(group=_GROUP)


def _no_plugin(scheme: str) -> str:
    if scheme in _EXTRAS:
        part = _EXTRAS[scheme]
        return (
            f"{scheme}:// needs the distribution leadership-{part}, which is not installed:"
            f" {how_to_install(part)}"
        )
    known = sorted({*installed_stores(), *_EXTRAS})
    import difflib

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
    # Imported here because most programs never need them.
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

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
