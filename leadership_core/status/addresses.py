"""Addresses of the status server: its URL, and the names by which browsers may ask for it."""

from __future__ import annotations

import re

from ..backend.security_warnings import is_loopback

__all__ = ["is_allowed_host", "url_of"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::\d*)?", re.ASCII)


def url_of(host: str, port: int) -> str:
    """The URL of the page at a numeric address; that of the loopback address for all addresses."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    shown = shown.replace("%", "%25")
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def is_allowed_host(host: str | None, bound: str) -> bool:
    """Whether a request with this Host may be answered at the address that the server is bound to.

    A page of another site can make a browser ask a loopback address, under a name of that site that
    resolves to it, and read the answer (DNS rebinding). Such a request names the foreign host.

    Args:
        host: the value of the header Host; None without one, as no browser sends it.
        bound: the numeric address.
    """
    if host is None or not is_loopback(bound):
        return True
    match = _HOST.fullmatch(host)
    return match is not None and is_loopback(match[1].strip("[]"))
