"""Arguments of a candidate, checked before anything is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backend.validation import check_ttl
from ..errors import ConfigurationError
from .timing import safety_margin

if TYPE_CHECKING:
    from .open_store import OpenStore

__all__ = ["check_candidate"]

_LONGEST_VALUE = 64 * 1024


def check_candidate(
    store: OpenStore, key: str, value: str, ttl: float, margin: float | None
) -> str:
    """Check the arguments of a candidate, and return the normalised key. Sends no request.

    Raises:
        ConfigurationError: the key, the value, the ttl or the margin is invalid.
        StoreClosed: the store is closed.
        ForkedStore: the store belongs to the parent process.
    """
    store.guard()
    if not isinstance(value, str):
        raise ConfigurationError(f"the value must be a str, not {type(value).__name__}")
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigurationError(f"the value has a lone surrogate: {value!r:.60}") from None
    if len(raw) > _LONGEST_VALUE:
        raise ConfigurationError(f"the value has {len(raw)} bytes, {_LONGEST_VALUE} are allowed")
    normalised = store.namespace.normalise(key)
    safety_margin(check_ttl(ttl), margin, store.engine.least_margin)
    return normalised
