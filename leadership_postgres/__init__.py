"""The PostgreSQL store of `leadership`: ``postgresql://user:password@host:5432/database``.

An open term is a row of a table, so a transaction of the user's own can depend on it: see `fence_sql`.
Elections do not use the server's clock: a session is over when another process has observed the same
heartbeat for the whole ttl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership_core.backend import hookimpl

if TYPE_CHECKING:
    from leadership_core.backend import StoreBackend, StoreURL

    from .claim import fence_sql
    from .schema import schema_sql

__all__ = ["fence_sql", "leadership_open_store", "schema_sql"]


@hookimpl
def leadership_open_store(url: StoreURL) -> StoreBackend | None:
    """Open the store of a ``postgresql://`` URL; makes no request.

    Raises:
        ConfigurationError: the URL is wrong, or a file that it names cannot be used.
    """
    if url.scheme not in {"postgresql", "postgres"}:
        return None
    from .store import PostgresStore

    return PostgresStore(url)


if not TYPE_CHECKING:  # for a type checker, every name would exist

    def __getattr__(name: str) -> object:
        if name == "fence_sql":
            from .claim import fence_sql

            return fence_sql
        if name == "schema_sql":
            from .schema import schema_sql

            return schema_sql
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
