"""Optional parts of a store, with their defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import PluginError
from .protocols import Capability, StoreBackend
from .validation import is_finite_number, safe_repr

__all__ = [
    "capabilities_of",
    "delete_tree",
    "expires_by_observation",
    "expires_within",
    "least_margin_of",
    "prefix_of",
]


def capabilities_of(backend: StoreBackend) -> frozenset[Capability]:
    """Return the capabilities that the store declares; `SESSIONS` if it declares none.

    Raises:
        PluginError: they are not a collection.
    """
    declared: Iterable[Capability] = getattr(backend, "capabilities", (Capability.SESSIONS,))
    try:
        return frozenset(declared)
    except TypeError:
        raise PluginError(
            f"the store's capabilities are {safe_repr(declared)}, not a set of Capability"
        ) from None


def prefix_of(backend: StoreBackend) -> str:
    """Return the prefix that the URL puts before every key; "" if the store declares none."""
    prefix: str = getattr(backend, "prefix", "")
    return prefix


def least_margin_of(backend: StoreBackend) -> float:
    """Seconds before the end of the ttl at which a leader must stop leading, at the least.

    Raises:
        PluginError: it is not a number of seconds, 0 or more.
    """
    margin: float = getattr(backend, "least_margin", 0.0)
    if not is_finite_number(margin) or margin < 0:
        raise PluginError(
            f"the store's least margin is {safe_repr(margin)}, not a number of seconds"
        )
    return margin


def expires_by_observation(backend: StoreBackend) -> bool:
    """Whether a silent session is over only for those that have observed it; see `StoreBackend`."""
    return bool(getattr(backend, "expires_by_observation", False))


def expires_within(backend: StoreBackend, ttl: float) -> float:
    """Seconds after its last renewal by which a silent session of that ttl has ended.

    Raises:
        PluginError: it is not a number of seconds, or less than the ttl.
    """
    own: Callable[[float], float] | None = getattr(backend, "expires_within", None)
    if own is None:
        return ttl
    seconds = own(ttl)
    if not is_finite_number(seconds) or seconds < ttl:
        raise PluginError(
            f"the store says that a session with a ttl of {ttl:g} s ends within {safe_repr(seconds)}: "
            "it must be a number of seconds, the ttl or more"
        )
    return seconds


def delete_tree(backend: StoreBackend, prefix: str) -> int:
    """Delete the entries below the prefix; returns their number."""
    own: Callable[[str], int] | None = getattr(backend, "delete_tree", None)
    if own is not None:
        return own(prefix)
    return sum(backend.delete(entry.key) for entry in backend.list(prefix))
