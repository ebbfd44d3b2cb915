"""One grammar of keys for all stores: a key is legal on every store or on none."""

from __future__ import annotations

import unicodedata

from .errors import InvalidKey

__all__ = ["MAX_KEY_BYTES", "join", "normalise"]

MAX_KEY_BYTES = 512
"""The longest key, in bytes of UTF-8, with the prefix of the store's URL."""

_RESERVED = "zookeeper"


def normalise(key: str, prefix: str = "") -> str:
    """Return the key without surrounding slashes.

    Args:
        key: what the user typed; parts are separated by single slashes.
        prefix: the normalised prefix it will stand under, which counts for its length.

    Raises:
        InvalidKey: an empty key or part, `.`, `..`, too long, a control character, one for
            private use, or one beyond the basic plane, such as an emoji; or `zookeeper` as the
            first part of all, the prefix included.
    """
    if not isinstance(key, str):
        raise InvalidKey(f"a key is a str, not {type(key).__name__}")
    parts = key.strip("/").split("/")
    if parts == [""]:
        raise InvalidKey(f"the key is empty: {key!r:.99}")
    for part in parts:
        if not part:
            raise InvalidKey(f"the key has an empty part (two slashes in a row): {key!r:.99}")
        if part in {".", ".."}:
            raise InvalidKey(f"a part of a key cannot be {part!r}: {key!r:.99}")
    plain = "/".join(parts)
    # Cs: a lone surrogate has no UTF-8. Cc: ZooKeeper refuses control characters.
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in plain):
        raise InvalidKey(f"the key has a control character or a lone surrogate: {key!r:.99}")
    if wrong := next(filter(_is_refused, plain), None):
        raise InvalidKey(
            f"the key has a character that not every store takes, U+{ord(wrong):04X}: {key!a:.99}"
        )
    if (prefix or plain).split("/", 1)[0] == _RESERVED:
        raise InvalidKey(
            f"the first part of a key cannot be {_RESERVED!r}, where a ZooKeeper keeps its own: {key!r:.99}"
        )
    size = len(join(prefix, plain).encode())
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"the key has {size} bytes with its prefix, {MAX_KEY_BYTES} are allowed: {key[:40]!r}..."
        )
    return plain


def _is_refused(char: str) -> bool:
    # ZooKeeper (3.9) refuses what is for private use, the specials at the end of the basic
    # plane, and all beyond it, which are pairs of surrogates there.
    return "\ue000" <= char <= "\uf8ff" or char >= "\ufff0"


def join(prefix: str, key: str) -> str:
    """Put a normalised prefix before a normalised key."""
    return f"{prefix}/{key}" if prefix else key
