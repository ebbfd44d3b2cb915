"""The Consul store of `leadership`: ``consul://host:8500/prefix``.

Elections follow the protocol of Consul's own clients: a session with a ttl, and one key that it
locks. So `consul lock` and programs in other languages can be candidates in the same elections.
See https://developer.hashicorp.com/consul/docs/automate/application-leader-election.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership_core.backend import hookimpl

if TYPE_CHECKING:
    from leadership_core.backend import StoreBackend, StoreURL

__all__ = ["leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open the store of a ``consul://`` URL; makes no request.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
        PluginError: py-consul is not the library that is imported as `consul`.
    """
    if url.scheme != "consul":
        return None
    from .compat import check_library

    check_library()
    from .store import ConsulStore

    return ConsulStore(url)
