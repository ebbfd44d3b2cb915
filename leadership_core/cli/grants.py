"""What a store grants: found out with a session that is closed again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..errors import ConfigurationError
from ..handle import StoreHandle
from ..internals import internals
from ..timing import margin_for
from .patience import within

__all__ = ["choose_ttl", "granted_ttl"]


def granted_ttl(store: StoreHandle, ttl: float) -> tuple[float, float]:
    """Open a session and close it again: the ttl that it got, and what a renewal took."""
    session = store.open_session(ttl)
    try:
        begun = time.monotonic()
        return session.renew(), time.monotonic() - begun
    finally:
        session.close()


def choose_ttl(store: StoreHandle, ttls: Sequence[float], timeout: float) -> float:
    """The first ttl that one can lead with on this store; a server may have made it longer.

    Raises:
        ConfigurationError: it is none of them; says why not the last one.
        StoreUnavailable: no answer within the timeout.
    """

    def usable(ttl: float) -> float:
        granted, _ = granted_ttl(store, ttl)
        margin_for(granted, least=internals(store).engine.least_margin)
        return granted

    problem = ConfigurationError("no ttl to choose from")
    for ttl in ttls:
        try:
            return within(store, timeout, lambda ttl=ttl: usable(ttl), retry=True)  # type: ignore[misc]
        except ConfigurationError as error:
            problem = error
    raise problem
