"""Leader election for clustered programs, on the key-value store that they already have.

These are the names for programs. Store plugins import from `leadership_core.backend`, and their
tests from `leadership_core.testing`. The modules are loaded when a name of theirs is first used.

PYTEST_DONT_REWRITE: the plugin for pytest is no reason to rewrite this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_names, module_of_names

if TYPE_CHECKING:
    from .backend.entries import ABSENT, ANY, Entry
    from .backend.fence import Fence
    from .backend.observation import observe
    from .backend.protocols import Capability, Closable, Leader, Session
    from .backend.url import StoreURL
    from .candidate import Candidate
    from .errors import (
        ConfigurationError,
        Conflict,
        Fenced,
        ForkedStore,
        InvalidKey,
        LeadershipError,
        LeadershipLost,
        MissingPlugin,
        NotApplied,
        NotElected,
        PluginError,
        SessionLost,
        StoreClosed,
        StoreError,
        StoreRefused,
        StoreUnavailable,
        URLError,
    )
    from .events import (
        Campaigning,
        CandidateEvent,
        Elected,
        Event,
        FollowerEvent,
        LeaderChanged,
        Lost,
        LostReason,
        Resigned,
        Resumed,
        Stopped,
        StoreDown,
        StoreUp,
        Suspended,
    )
    from .follower import Follower
    from .installation import installed_stores
    from .lock import Lock
    from .shutdown import graceful_exit
    from .store import Store, open_store
    from .term import Term

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "ANY",
    "Campaigning",
    "Candidate",
    "CandidateEvent",
    "Capability",
    "Closable",
    "ConfigurationError",
    "Conflict",
    "Elected",
    "Entry",
    "Event",
    "Fence",
    "Fenced",
    "Follower",
    "FollowerEvent",
    "ForkedStore",
    "InvalidKey",
    "Leader",
    "LeaderChanged",
    "LeadershipError",
    "LeadershipLost",
    "Lock",
    "Lost",
    "LostReason",
    "MissingPlugin",
    "NotApplied",
    "NotElected",
    "PluginError",
    "Resigned",
    "Resumed",
    "Session",
    "SessionLost",
    "Stopped",
    "Store",
    "StoreClosed",
    "StoreDown",
    "StoreError",
    "StoreRefused",
    "StoreURL",
    "StoreUnavailable",
    "StoreUp",
    "Suspended",
    "Term",
    "URLError",
    "graceful_exit",
    "installed_stores",
    "observe",
    "open_store",
]

# The names of each module; a test compares them with the declarations above.
_MODULE_OF = module_of_names(
    {
        ".backend.entries": "ABSENT ANY Entry",
        ".backend.fence": "Fence",
        ".backend.observation": "observe",
        ".backend.protocols": "Capability Closable Leader Session",
        ".backend.url": "StoreURL",
        ".candidate": "Candidate",
        ".errors": (
            "ConfigurationError Conflict Fenced ForkedStore InvalidKey LeadershipError "
            "LeadershipLost MissingPlugin NotApplied NotElected PluginError SessionLost "
            "StoreClosed StoreError StoreRefused StoreUnavailable URLError"
        ),
        ".events": (
            "Campaigning CandidateEvent Elected Event FollowerEvent LeaderChanged Lost "
            "LostReason Resigned Resumed Stopped StoreDown StoreUp Suspended"
        ),
        ".follower": "Follower",
        ".lock": "Lock",
        ".installation": "installed_stores",
        ".shutdown": "graceful_exit",
        ".store": "Store open_store",
        ".term": "Term",
    }
)
if not TYPE_CHECKING:  # for a type checker, every name would exist
    __getattr__, __dir__ = lazy_names(globals(), _MODULE_OF)
