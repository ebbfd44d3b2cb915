"""The Redis store of `leadership`: ``redis://host:6379/prefix``, on Redis 6.2 and later and on Valkey.

No clock of the server decides an election: a leader renews a record, and another candidate takes
over only when it has itself seen that record unchanged for the whole ttl. What a failover or a
loss of data may do nevertheless is in `docs/redis.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from leadership_core.backend import hookimpl

if TYPE_CHECKING:
    from leadership_core.backend import StoreBackend, StoreURL

__all__ = ["leadership_open_store"]


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open the store of a ``redis://``, ``rediss://`` or ``redis+sentinel://`` URL; makes no request.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """
    if url.scheme == "rediss":  # the usual name of redis+tls in the URLs of other clients
        url = replace(url, scheme="redis", tls=True)
    if url.scheme not in {"redis", "redis+sentinel"}:
        return None
    from .store import RedisStore

    return RedisStore(url)
