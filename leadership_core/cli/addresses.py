"""Addresses to listen on, as options of a command."""

from __future__ import annotations

import re

from ..errors import ConfigurationError

__all__ = ["parse_address"]

_ADDRESS = re.compile(r"(?:(\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.*-]*):)?(\d{1,5})", re.ASCII)


def parse_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT; without a host it is the loopback address.

    Args:
        text: such as ``127.0.0.1:8080``, ``[::1]:8080``, ``:8080`` or ``8080``.

    Raises:
        ConfigurationError: it is something else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise ConfigurationError(
            f"the address must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, not {text!r:.60}"
        )
    host = (match[1] or "127.0.0.1").strip("[]")
    return ("0.0.0.0" if host == "*" else host), int(match[2])  # noqa: S104 - asked for
