"""Names of Leases: a key is its own name if it can be one, and has a hash in its name otherwise."""

from __future__ import annotations

import base64
import hashlib
import re

__all__ = ["name_of"]

_MOST = 253  # characters of a name in Kubernetes
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HASHED = re.compile(r".*\.key-[a-z2-7]{32}")
_SLUG = 160  # characters of the key in a name with a hash


def name_of(key: str) -> str:
    """Return the name of the Lease at a key; different keys have different names.

    A key that is a name (a DNS-1123 subdomain) is used as it is, as a user of client-go expects.
    Any other one is shortened to what a name may contain, for readers, and followed by a hash of
    the key. A key that looks like such a name gets a hash itself.
    """
    if len(key) <= _MOST and _NAME.fullmatch(key) and not _HASHED.fullmatch(key):
        return key
    readable = re.sub("[^a-z0-9]+", "-", key.lower())[:_SLUG].strip("-") or "key"
    digest = hashlib.sha256(key.encode()).digest()[:20]  # 160 bits: 32 characters without padding
    return f"{readable}.key-{base64.b32encode(digest).decode().lower()}"
