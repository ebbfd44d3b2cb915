"""Mapping of the answers of a Kubernetes API server to the errors of `leadership_core`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http.client import BadStatusLine, HTTPMessage, RemoteDisconnected
from typing import Any

from leadership_core.backend import (
    ConnectFailure,
    NotApplied,
    StoreRefused,
    StoreUnavailable,
    cannot_connect,
    one_line,
    shortened,
)

__all__ = [
    "Conflicted",
    "Gone",
    "Missing",
    "NotKubernetes",
    "connect_failed",
    "connection_lost",
    "is_not_applied",
    "refusal",
    "retry_after",
]

_MOST_RETRY_AFTER = 60.0  # seconds
_FAILURES = frozenset({500, 502, 503, 504})
_TOO_MANY = 429
_LONGEST = 600  # characters: a denied permission comes after a long name, and with it
_TERMINATING = "NamespaceTerminating"


class Conflicted(Exception):  # internal: it is handled within this package
    """The object is not the one that the request names, or exists already; nothing was written."""


class Missing(Exception):  # internal, too
    """The object does not exist, nor was anything written."""


class Gone(Exception):  # internal, too
    """The version that a watch was to begin with is too old."""


class NotKubernetes(StoreUnavailable):
    """The answer is not that of a Kubernetes API server."""


def is_not_applied(error: StoreUnavailable) -> bool:
    """Whether the request certainly did not take effect."""
    return isinstance(error, NotApplied | StoreRefused)


def retry_after(headers: HTTPMessage) -> float:
    """Seconds that a server that limits requests asks to wait; 1 if it does not say."""
    text = headers.get("Retry-After") or ""
    seconds = float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1.0
    return min(max(seconds, 0.1), _MOST_RETRY_AFTER)


def refusal(doing: str, status: int, body: str, *, namespace: str) -> Exception:
    """The error for an answer other than success.

    See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/.

    Args:
        doing: the action that fails, for the message: ``cannot {doing}``.
        status: of HTTP.
        body: the answer.
        namespace: of the store.
    """
    document = _status(body)
    said = one_line(document.get("message") or body, _LONGEST)
    if document.get("kind") != "Status" and status not in _FAILURES and status != _TOO_MANY:
        return NotKubernetes(
            f"cannot {doing}: the server answers with the status {status}, and not as Kubernetes does ({said}); check "
            "host and port"
        )
    match status:
        case 404 if _of_namespace(document):
            return StoreRefused(f"cannot {doing}: the namespace {namespace!r} does not exist")
        case 404:
            return Missing(said)
        case 409:
            return Conflicted(said)
        case 410:
            return Gone(said)
        case 429:
            return NotApplied(f"cannot {doing}: the server limits the rate of requests ({said})")
        case 401:
            return StoreRefused(
                f"cannot {doing}: Kubernetes does not accept the credentials ({said})"
            )
        case 403 if _is_terminating(document):
            return StoreRefused(f"cannot {doing}: the namespace {namespace!r} is being deleted")
        case 403:
            return StoreRefused(
                f"cannot {doing}: Kubernetes denies permission ({said}); a Role in the namespace {namespace!r} must allow "
                "get, list, watch, create, update and delete of leases in coordination.k8s.io"
            )
        case 400 | 405 | 413 | 415 | 422:
            return StoreRefused(f"cannot {doing}: Kubernetes refuses the request ({said})")
    return StoreUnavailable(f"cannot {doing}: the server answers with the status {status} ({said})")


def connection_lost(failure: ConnectFailure, given: float) -> StoreUnavailable:
    """The error of a request that was sent and has no answer.

    Args:
        failure: how the connection ended.
        given: seconds that the request was allowed to take.
    """
    if isinstance(failure.error, TimeoutError):
        return StoreUnavailable(f"{failure.place} gave no answer within {given:.2f} s")
    if isinstance(failure.error, BadStatusLine) and not isinstance(
        failure.error, RemoteDisconnected
    ):
        return NotKubernetes(
            f"{failure.place} does not speak HTTP ({shortened(failure.error)}); check host and port"
        )
    return StoreUnavailable(
        f"{failure.place} closed the connection before the answer: {shortened(failure.error)}"
    )


def connect_failed(failed: Sequence[ConnectFailure]) -> StoreUnavailable:
    """The error of a request for which no API server could be connected to."""
    return cannot_connect("Kubernetes", "an API server", failed)


def _status(body: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_terminating(document: Mapping[str, Any]) -> bool:
    details = document.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return any(isinstance(one, dict) and one.get("reason") == _TERMINATING for one in causes or ())


def _of_namespace(document: Mapping[str, Any]) -> bool:
    details = document.get("details")
    return isinstance(details, dict) and details.get("kind") == "namespaces"
