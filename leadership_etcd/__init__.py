"""The etcd store of `leadership`: ``etcd://h1:2379,h2:2379/prefix``.

It uses the recipe of etcd's own clients, so that `etcdctl elect` and programs in other languages
take part in the same elections: a lease for each session, and a queue of keys bound to leases.
See https://pkg.go.dev/go.etcd.io/etcd/client/v3/concurrency#Election
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from leadership_core.backend import hookimpl, refuse_eventlet

if TYPE_CHECKING:
    from leadership_core.backend import StoreBackend, StoreURL

__all__ = ["leadership_open_store"]

_loading = threading.Lock()


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open the store of an ``etcd://`` URL; connects to no server, so it does not block.

    Returns:
        None for the URL of another store.

    Raises:
        ConfigurationError: the URL cannot work, or eventlet has patched the process.
        ForkedStore: this is a forked child in which gRPC cannot be loaded once more.
    """
    if url.scheme != "etcd":
        return None
    refuse_eventlet("etcd://", "gRPC would stop all of it at every wait")
    # Threads that import modules of a package at once may see them half initialised: Python lets
    # go of its own lock where two of them wait for each other.
    with _loading:
        from .compat import reload_grpc

        reload_grpc()
        from .compat import use_greenlets  # of the module that may have been loaded once more

        use_greenlets()
        from .store import EtcdStore

        return EtcdStore(url)
