"""The capabilities of a store, with the default where it declares none."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import PluginError
from .store import Capability, Store
from .timing import shown

__all__ = ["capabilities_of"]


def capabilities_of(backend: Store) -> frozenset[Capability]:
    """Return what the store declares; `SESSIONS` where it declares nothing.

    Raises:
        PluginError: it declares something that is no collection.
    """
    declared: Iterable[Capability] = getattr(backend, "capabilities", (Capability.SESSIONS,))
    try:
        return frozenset(declared)
    except TypeError:
        raise PluginError(
            f"the store's capabilities are {shown(declared)}, no set of Capability"
        ) from None
