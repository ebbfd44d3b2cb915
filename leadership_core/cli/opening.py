"""The store of a command that takes part in an election with other processes."""

from __future__ import annotations

from ..errors import ConfigurationError
from ..handle import StoreHandle, open_store
from ..url import StoreURL

__all__ = ["check_shared", "open_shared_store"]


def open_shared_store(url: StoreURL | None) -> StoreHandle:
    """Open a store that other processes can reach, too.

    Raises:
        ConfigurationError: the URL is wrong, or the store is within this process.
    """
    assert url is not None
    store = open_store(url)  # first: what is wrong with the URL itself is said before
    try:
        check_shared(url)
    except ConfigurationError:
        store.close(0)
        raise
    return store


def check_shared(url: StoreURL) -> None:
    """Raise `ConfigurationError` if no other process can reach the store."""
    if url.scheme == "memory":
        raise ConfigurationError(
            "memory:// is within one process, so no other process can take part in the election:"
            " use sqlite:///FILE.db for the processes of one machine, or the URL of a server"
        )
