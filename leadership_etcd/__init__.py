"""The etcd store of `leadership`: ``etcd://h1:2379,h2:2379/prefix``.

It keeps to the protocol of etcd's own clients, so that `etcdctl elect` and programs in other
languages stand in the same elections: a lease, and a queue of keys that are bound to leases.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from leadership_core.plugins import hookimpl

if TYPE_CHECKING:
    from leadership_core.store import Store
    from leadership_core.url import StoreURL

__all__ = ["leadership_open_store"]

_loading = threading.Lock()


@hookimpl
def leadership_open_store(url: StoreURL) -> Store | None:
    """Open the store of an ``etcd://`` URL; nobody is contacted."""
    if url.scheme != "etcd":
        return None
    # The modules of a package that several threads import at once may be seen half made: Python
    # lets go of its own lock where two of them wait for each other.
    with _loading:
        from .fork import renew_grpc

        renew_grpc()
        from .store import EtcdStore

        return EtcdStore(url)
