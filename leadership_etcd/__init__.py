"""The etcd store of `leadership`: ``etcd://h1:2379,h2:2379/prefix``.

It keeps to the protocol of etcd's own clients, so that `etcdctl elect` and programs in other
languages stand in the same elections: a lease, and a queue of keys that are bound to leases.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from leadership_core.greenlets import refuse_eventlet
from leadership_core.plugins import hookimpl

if TYPE_CHECKING:
    from leadership_core.store import Store
    from leadership_core.url import StoreURL

__all__ = ["leadership_open_store"]

_loading = threading.Lock()


@hookimpl
def leadership_open_store(url: StoreURL) -> Store | None:
    """Open the store of an ``etcd://`` URL; nobody is contacted.

    Raises:
        ConfigurationError: the URL does not work, or eventlet has patched the process.
    """
    if url.scheme != "etcd":
        return None
    refuse_eventlet("etcd://", "gRPC would stop all of it at every wait")
    # The modules of a package that several threads import at once may be seen half made: Python
    # lets go of its own lock where two of them wait for each other.
    with _loading:
        from .fork import renew_grpc, use_greenlets

        renew_grpc()
        use_greenlets()
        from .store import EtcdStore

        return EtcdStore(url)
