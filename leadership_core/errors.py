"""Errors of this library.

    LeadershipError
    ├── ConfigurationError            an argument or option is invalid (also a ValueError)
    │   ├── URLError                  not a store URL, or not one of this store
    │   └── InvalidKey                no store accepts this key
    ├── PluginError                   the plugin that serves the scheme does not work
    │   └── MissingPlugin             no installed plugin serves the scheme
    ├── StoreError                    the store, or the connection to it
    │   ├── StoreUnavailable          no answer: whether the request took effect is unknown
    │   │   ├── NotApplied            no answer, and the request took no effect
    │   │   ├── StoreRefused          it lasts until it is repaired: permission, TLS, unknown host
    │   │   └── ClaimOutcomeUnknown   a claim may or may not have entered the election
    │   ├── SessionLost               the store has ended the session
    │   ├── Conflict                  compare-and-set: the entry is not the expected one
    │   │   └── Fenced                a fenced write came after its term
    │   ├── StoreClosed               the store was closed in this process
    │   └── ForkedStore               the store belongs to the parent of this process
    ├── NotElected                    not elected within the given time
    └── LeadershipLost                the term is over

The error of a client library is kept as ``__cause__``.
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "Conflict",
    "Fenced",
    "ForkedStore",
    "InvalidKey",
    "LeadershipError",
    "LeadershipLost",
    "MissingPlugin",
    "NotApplied",
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
    """An argument, an option or a combination of them is invalid; the message says what to change."""


class URLError(ConfigurationError):
    """The text is not a store URL, or the store does not know one of its options."""


class InvalidKey(ConfigurationError):
    """The key is refused on every store, so that it means the same on all of them."""


class PluginError(LeadershipError):
    """The plugin that serves the scheme is installed but does not work."""


class MissingPlugin(PluginError):
    """No installed plugin serves the scheme of the URL."""


class StoreError(LeadershipError):
    """The store, or the connection to it, has failed a request."""


class StoreUnavailable(StoreError):
    """The store gave no usable answer; whether the request took effect is unknown.

    It says nothing about a session: the session may be alive or gone.
    """


class NotApplied(StoreUnavailable):
    """The store gave no usable answer, and the request took no effect.

    It was not sent, for example, or the database was locked by another process.
    """


class StoreRefused(StoreUnavailable):
    """The store cannot be used as configured: permission denied, TLS failure, unknown host.

    It lasts until the configuration or the server is repaired. It is raised to the user while the
    store has never worked, and retried like any other `StoreUnavailable` once it has.
    """


class SessionLost(StoreError):
    """The store says that the session has ended, and with it all that was bound to it."""


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
    """The term is over: from now on another candidate may lead."""
