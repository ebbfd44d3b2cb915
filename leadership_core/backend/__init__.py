"""Interface for store plugins: the protocols that a plugin implements, and helpers for them.

    from leadership_core.backend import Entry, StoreURL, hookimpl

A plugin imports from here, and from nowhere else in `leadership_core`; its tests import
`leadership_core.testing`. The modules are loaded when a name of theirs is first used, so that a
plugin without TLS loads no TLS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import errors
from . import clock

if TYPE_CHECKING:
    from ..errors import (
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
    from .claim_record import ClaimRecord, claim_key
    from .connect_failure import ConnectFailure, WrongServer, cannot_connect, shortened
    from .deadline import (
        DEFAULT_TIMEOUT,
        call_timeout,
        half_timeout,
        remaining_timeout,
        single_timeout,
    )
    from .deadline_sockets import (
        DeadlineSocket,
        DeadlineTLSSocket,
        RequestDeadline,
        connect_with_deadline,
        use_deadline_sockets,
    )
    from .default_election import DefaultElection
    from .duration import parse_duration
    from .entries import ABSENT, ANY, Change, Entry, Expected
    from .event_count import EventCount, Flag, snapshot
    from .fence import Fence
    from .fork import at_fork_in_child, inert_in_child, leak, note_owned
    from .heartbeats import (
        UNREADABLE_TTL,
        Heartbeat,
        HeartbeatStore,
        HolderDeadline,
        ObservedExpiry,
        observed_within,
        observing_interval,
    )
    from .hooks import hookimpl
    from .latest_claims import LatestClaims
    from .net import Address, Addresses, Attempt, connected, is_unknown_host, verified_name
    from .observed_election import ObservedElection
    from .observed_sessions import ObservedSessions
    from .protocols import (
        Absent,
        Capability,
        Claim,
        ClaimOutcomeUnknown,
        ClaimStatus,
        Closable,
        Election,
        Leader,
        Leading,
        Session,
        StoreBackend,
        Waiting,
    )
    from .rate_limit import RateLimiter
    from .resolver import resolve
    from .secret import FileState, Secret, file_state, read_password, why_unreadable
    from .security_warnings import is_loopback, warn_about_connection, warn_about_database
    from .session_observer import end_observation
    from .text import MESSAGE_CHARACTERS, one_line, printable
    from .threads import gevent_has_patched_threads, join, refuse_eventlet, start_daemon
    from .time_source import TimeSource, time_source_of
    from .tls import ClientTLS, advice, is_hang_up, is_refused_by_server, is_tls_failure
    from .tracebacks import HiddenText, bare
    from .url import Host, StoreURL, as_seconds, as_text, flag
    from .validation import (
        check_expected,
        check_fence,
        check_session,
        check_value,
        is_finite_number,
        safe_repr,
    )
    from .watches import PollingWatcher, WatchDelivery

__all__ = [
    "ABSENT",
    "ANY",
    "DEFAULT_TIMEOUT",
    "MESSAGE_CHARACTERS",
    "UNREADABLE_TTL",
    "Absent",
    "Address",
    "Addresses",
    "Attempt",
    "Capability",
    "Change",
    "Claim",
    "ClaimOutcomeUnknown",
    "ClaimRecord",
    "ClaimStatus",
    "ClientTLS",
    "Closable",
    "ConfigurationError",
    "Conflict",
    "ConnectFailure",
    "DeadlineSocket",
    "DeadlineTLSSocket",
    "DefaultElection",
    "Election",
    "Entry",
    "EventCount",
    "Expected",
    "Fence",
    "Fenced",
    "FileState",
    "Flag",
    "ForkedStore",
    "Heartbeat",
    "HeartbeatStore",
    "HiddenText",
    "HolderDeadline",
    "Host",
    "InvalidKey",
    "LatestClaims",
    "Leader",
    "LeadershipError",
    "LeadershipLost",
    "Leading",
    "MissingPlugin",
    "NotApplied",
    "NotElected",
    "ObservedElection",
    "ObservedExpiry",
    "ObservedSessions",
    "PluginError",
    "PollingWatcher",
    "RateLimiter",
    "RequestDeadline",
    "Secret",
    "Session",
    "SessionLost",
    "StoreBackend",
    "StoreClosed",
    "StoreError",
    "StoreRefused",
    "StoreURL",
    "StoreUnavailable",
    "TimeSource",
    "URLError",
    "Waiting",
    "WatchDelivery",
    "WrongServer",
    "advice",
    "as_seconds",
    "as_text",
    "at_fork_in_child",
    "bare",
    "call_timeout",
    "cannot_connect",
    "check_expected",
    "check_fence",
    "check_session",
    "check_value",
    "claim_key",
    "clock",
    "connect_with_deadline",
    "connected",
    "end_observation",
    "errors",
    "file_state",
    "flag",
    "gevent_has_patched_threads",
    "half_timeout",
    "hookimpl",
    "inert_in_child",
    "is_finite_number",
    "is_hang_up",
    "is_loopback",
    "is_refused_by_server",
    "is_tls_failure",
    "is_unknown_host",
    "join",
    "leak",
    "note_owned",
    "observed_within",
    "observing_interval",
    "one_line",
    "parse_duration",
    "printable",
    "read_password",
    "refuse_eventlet",
    "remaining_timeout",
    "resolve",
    "safe_repr",
    "shortened",
    "single_timeout",
    "snapshot",
    "start_daemon",
    "time_source_of",
    "use_deadline_sockets",
    "verified_name",
    "warn_about_connection",
    "warn_about_database",
    "why_unreadable",
]

# The names of each module; a test compares them with the declarations above.
_MODULES = {
    ".claim_record": "ClaimRecord claim_key",
    ".connect_failure": "ConnectFailure WrongServer cannot_connect shortened",
    ".deadline": "DEFAULT_TIMEOUT call_timeout half_timeout remaining_timeout single_timeout",
    ".deadline_sockets": (
        "DeadlineSocket DeadlineTLSSocket RequestDeadline connect_with_deadline use_deadline_sockets"
    ),
    ".default_election": "DefaultElection",
    ".duration": "parse_duration",
    ".event_count": "EventCount Flag snapshot",
    ".entries": "ABSENT ANY Change Entry Expected",
    ".fence": "Fence",
    ".fork": "at_fork_in_child inert_in_child leak note_owned",
    ".heartbeats": (
        "UNREADABLE_TTL Heartbeat HeartbeatStore HolderDeadline ObservedExpiry observed_within "
        "observing_interval"
    ),
    ".hooks": "hookimpl",
    ".latest_claims": "LatestClaims",
    ".net": "Address Addresses Attempt connected is_unknown_host verified_name",
    ".observed_election": "ObservedElection",
    ".observed_sessions": "ObservedSessions",
    ".protocols": (
        "Absent Capability Claim ClaimOutcomeUnknown ClaimStatus Closable Election Leader "
        "Leading Session StoreBackend Waiting"
    ),
    ".rate_limit": "RateLimiter",
    ".resolver": "resolve",
    ".secret": "FileState Secret file_state read_password why_unreadable",
    ".security_warnings": "is_loopback warn_about_connection warn_about_database",
    ".session_observer": "end_observation",
    ".text": "MESSAGE_CHARACTERS one_line printable",
    ".threads": "gevent_has_patched_threads join refuse_eventlet start_daemon",
    ".time_source": "TimeSource time_source_of",
    ".tls": "ClientTLS advice is_hang_up is_refused_by_server is_tls_failure",
    ".tracebacks": "HiddenText bare",
    ".validation": (
        "check_expected check_fence check_session check_value is_finite_number safe_repr"
    ),
    ".watches": "PollingWatcher WatchDelivery",
    "..errors": (
        "ConfigurationError Conflict Fenced ForkedStore InvalidKey LeadershipError "
        "LeadershipLost MissingPlugin NotApplied NotElected PluginError SessionLost "
        "StoreClosed StoreError StoreRefused StoreUnavailable URLError"
    ),
    ".url": "Host StoreURL as_seconds as_text flag",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

if not TYPE_CHECKING:  # for a type checker, every name would exist

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name], __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
