"""The ZooKeeper store of `leadership`: ``zk://host:2181,host:2181/chroot``.

It keeps to the protocol of kazoo's own `Election` and `Lock`, so that programs that use those
stand in the same elections: an ephemeral sequential node for each candidate, the first leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership_core.greenlets import refuse_eventlet
from leadership_core.plugins import hookimpl

if TYPE_CHECKING:
    from leadership_core.store import Store
    from leadership_core.url import StoreURL

__all__ = ["leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> Store | None:
    """Open the store of a ``zk://`` or ``zookeeper://`` URL; nobody is contacted.

    Raises:
        ConfigurationError: the URL does not work, or eventlet has patched the process.
    """
    if url.scheme not in {"zk", "zookeeper"}:
        return None
    refuse_eventlet(f"{url.scheme}://", "it takes away select.poll(), which kazoo's client needs")
    from .store import ZooKeeperStore

    return ZooKeeperStore(url)
