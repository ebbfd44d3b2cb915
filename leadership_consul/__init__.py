"""The Consul store of `leadership`: ``consul://host:8500/prefix``.

It keeps to the protocol of Consul's own clients, so that `consul lock` and programs in other
languages stand in the same elections: a session with a ttl, and one key that it locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership_core.plugins import hookimpl

if TYPE_CHECKING:
    from leadership_core.store import Store
    from leadership_core.url import StoreURL

__all__ = ["leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> Store | None:
    """Open the store of a ``consul://`` URL; nobody is contacted."""
    if url.scheme != "consul":
        return None
    from .library import check_library

    check_library()
    from .store import ConsulStore

    return ConsulStore(url)
