"""What a backend may leave out, and what holds then; see `FullStore`."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from .capabilities import capabilities_of
from .default_election import DefaultElection
from .errors import ConfigurationError, PluginError
from .store import Capability, Election, Store
from .timing import is_seconds, shown

__all__ = [
    "delete_tree",
    "election_of",
    "exists",
    "expires_within",
    "least_margin_of",
    "prefix_of",
]


def prefix_of(backend: Store) -> str:
    """What its URL puts before every key."""
    prefix: str = getattr(backend, "prefix", "")
    return prefix


def least_margin_of(backend: Store) -> float:
    """Seconds that a leader must stop believing before the ttl, at least.

    Raises:
        PluginError: it says something else.
    """
    margin: float = getattr(backend, "least_margin", 0.0)
    if not is_seconds(margin) or margin < 0:
        raise PluginError(f"the store's least margin is {shown(margin)}, no number of seconds")
    return margin


def expires_within(backend: Store, ttl: float) -> float:
    """Seconds after its last renewal by which a silent session of that ttl is gone.

    Raises:
        PluginError: it says something else, or less than the ttl.
    """
    own: Callable[[float], float] | None = getattr(backend, "expires_within", None)
    if own is None:
        return ttl
    said = own(ttl)
    if not is_seconds(said) or said < ttl:
        raise PluginError(
            f"the store says that a session with a ttl of {ttl:g} s is gone after {shown(said)}, "
            "which must be a number of seconds, at least the ttl"
        )
    return said


def exists(backend: Store, key: str, election: Callable[[str], Election]) -> bool:
    """Say whether an entry is at the key, or somebody leads its election."""
    own: Callable[[str], bool] | None = getattr(backend, "exists", None)
    if backend.get(key) is not None if own is None else own(key):
        return True
    if getattr(backend, "election", None) is None:
        return False  # the claim of a default election is an entry at the key
    found = election(key)
    return not isinstance(found, DefaultElection) and found.leader() is not None


def delete_tree(backend: Store, prefix: str) -> int:
    """Delete what is below the prefix; returns how many entries that were."""
    own: Callable[[str], int] | None = getattr(backend, "delete_tree", None)
    if own is not None:
        return own(prefix)
    return sum(backend.delete(entry.key) for entry in backend.list(prefix))


def election_of(backend: Store, key: str) -> Election:
    """The store's own race for the key, or the default one where it brings none.

    Raises:
        ConfigurationError: it brings none, and cannot bind an entry to a session.
        PluginError: its own one allows no weak references.
    """
    own: Callable[[str], Election] | None = getattr(backend, "election", None)
    if own is not None:
        election = own(key)
        try:
            weakref.ref(election)
        except TypeError:
            raise PluginError(
                f"the store's {type(election).__name__} allows no weak references: "
                "add '__weakref__' to its __slots__"
            ) from None
        return election
    if Capability.SESSIONS not in capabilities_of(backend):
        raise ConfigurationError(
            "this store has no elections: it brings none of its own, "
            "and cannot bind an entry to a session"
        )
    return DefaultElection(backend, key)
