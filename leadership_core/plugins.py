"""The hook that a store plugin implements, and its place among the entry points."""

from __future__ import annotations

import pluggy

from .store import Store
from .url import StoreURL

__all__ = ["GROUP", "PROJECT", "hookimpl", "hookspec", "leadership_open_store"]

PROJECT = "leadership"
GROUP = "leadership.stores"
"""The entry-point group: the name is a URL scheme, the value the package that is the plugin."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def leadership_open_store(url: StoreURL) -> Store | None:
    """Return a store for the URL, without contacting it; None if the scheme is not yours.

    Raises:
        ConfigurationError: the URL has an option or a part that the store does not know.
    """
