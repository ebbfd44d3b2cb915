"""The ZooKeeper store of `leadership`: ``zk://host:2181,host:2181/chroot``.

It is compatible with kazoo's `Election` and `Lock` recipes, so programs that use those take part
in the same elections: each candidate has an ephemeral sequential node, and the first one leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership_core.backend import hookimpl, refuse_eventlet

if TYPE_CHECKING:
    from leadership_core.backend import StoreBackend, StoreURL

__all__ = ["leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open the store of a ``zk://`` or ``zookeeper://`` URL; contacts no server.

    Raises:
        ConfigurationError: the URL is invalid, or eventlet has patched the process.
    """
    if url.scheme not in {"zk", "zookeeper"}:
        return None
    refuse_eventlet(f"{url.scheme}://", "it removes select.poll(), which kazoo's client needs")
    from .store import ZooKeeperStore

    return ZooKeeperStore(url)
