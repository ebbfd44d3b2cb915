"""Everything this library raises.

    LeadershipError
    ├── ConfigurationError            what you asked for cannot work (also a ValueError)
    │   ├── URLError                  the text is not a store URL, or not one of this store's
    │   └── InvalidKey                no store accepts this key
    ├── PluginError                   the plugin that serves the scheme does not work
    │   └── MissingPlugin             no plugin that is installed serves the scheme
    ├── StoreError                    the store, or the way to it
    │   ├── StoreUnavailable          no answer: whether the request took effect is not known
    │   │   ├── NotDone               no answer, and it surely took no effect
    │   │   ├── StoreRefused          an answer that time alone does not mend: permission, TLS, unknown host
    │   │   └── ClaimUnknown          a claim may or may not have entered the race
    │   ├── SessionLost               the store has ended the session
    │   ├── Conflict                  compare-and-set: the entry is not what was expected
    │   │   └── Fenced                a fenced write came after its term
    │   ├── StoreClosed               you closed it
    │   └── ForkedStore               it belongs to the parent of this process
    ├── NotElected                    not elected within the time given
    └── LeadershipLost                the term is over

The error of a client library is kept as ``__cause__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .election import Claim

__all__ = [
    "ClaimUnknown",
    "ConfigurationError",
    "Conflict",
    "Fenced",
    "ForkedStore",
    "InvalidKey",
    "LeadershipError",
    "LeadershipLost",
    "MissingPlugin",
    "NotDone",
    "NotElected",
    "PluginError",
    "SessionLost",
    "StoreClosed",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "URLError",
]


class LeadershipError(Exception):
    """The root of all errors of this library."""


class ConfigurationError(LeadershipError, ValueError):
    """What you asked for cannot work; the message says what to change."""


class URLError(ConfigurationError):
    """The text is not a store URL, or the store does not know one of its options."""


class InvalidKey(ConfigurationError):
    """The key is refused on every store, so that it means the same on all of them."""


class PluginError(LeadershipError):
    """The plugin that serves the scheme is installed but does not work."""


class MissingPlugin(PluginError):
    """No plugin that is installed here serves the scheme."""


class StoreError(LeadershipError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store gave no usable answer; whether the request took effect is not known.

    It says nothing about a session: the session may be alive or gone.
    """


class NotDone(StoreUnavailable):
    """The store gave no usable answer, but the request surely took no effect.

    It was not sent, for example, or the database was locked by another process.
    """


class StoreRefused(StoreUnavailable):
    """The store cannot be used as configured: permission denied, TLS failure, unknown host.

    Waiting does not mend it, a person does. It is raised to the user when the store has
    never worked, and retried like any other `StoreUnavailable` once it has.
    """


class ClaimUnknown(StoreUnavailable):
    """A request that enters a claim got no answer, and reading back gave none either."""

    def __init__(self, message: str, claim: Claim) -> None:
        super().__init__(message)
        self.claim = claim


class SessionLost(StoreError):
    """The store says that the session is no longer there, and with it all that it held."""


class Conflict(StoreError):
    """The entry is not the one that was expected, so nothing was written."""


class Fenced(Conflict):
    """The term of a fenced write is over, so nothing was written."""


class StoreClosed(StoreError):
    """The store was closed in this process."""


class ForkedStore(StoreError):
    """The store was opened before this process was forked; only the parent may use it."""


class NotElected(LeadershipError):
    """The candidate was not elected within the time given."""


class LeadershipLost(LeadershipError):
    """The term is over; what you are about to do belongs to the next leader."""
