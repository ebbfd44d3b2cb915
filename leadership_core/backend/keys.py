"""Grammar of keys: a key is valid on every store or on none."""

from __future__ import annotations

from ..errors import InvalidKey

__all__ = ["MAX_KEY_BYTES", "join", "normalise"]

MAX_KEY_BYTES = 512
"""The longest key, in bytes of UTF-8, with the prefix of the store's URL."""

_RESERVED = "zookeeper"


def normalise(key: str, prefix: str = "") -> str:
    """Return the key without surrounding slashes.

    Args:
        key: the key as typed; parts are separated by single slashes.
        prefix: the normalised prefix of the store's URL, which counts for the length.

    Raises:
        InvalidKey: an empty key or part, `.`, `..`, too long, a character that cannot be printed
            (control and format characters, separators other than the space, private use,
            unassigned as of Unicode 12), or one beyond the basic plane, such as an emoji; or
            `zookeeper` as the first part of all, the prefix included.
    """
    if not isinstance(key, str):
        raise InvalidKey(f"the key must be a str, not {type(key).__name__}")
    parts = key.strip("/").split("/")
    if parts == [""]:
        raise InvalidKey(f"the key is empty: {key!r:.99}")
    for part in parts:
        if not part:
            raise InvalidKey(f"the key has an empty part (two slashes in a row): {key!r:.99}")
        if part in {".", ".."}:
            raise InvalidKey(f"a part of a key cannot be {part!r}: {key!r:.99}")
    plain = "/".join(parts)
    # Consul reads no key with a character that Go's unicode.IsPrint refuses: all separators but the
    # space, and control, format, unassigned and private characters, as str.isprintable has it. A
    # transaction writes it all the same. ZooKeeper (3.9) refuses the specials at the end of the
    # basic plane and all beyond it, which are pairs of surrogates there.
    refused = (c for c in plain if not c.isprintable() or c >= "\ufff0" or c in _TOO_NEW)
    is_plain = plain.isascii() and plain.isprintable()  # as nearly all keys are, so at once
    if not is_plain and (wrong := next(refused, None)):
        raise InvalidKey(
            f"the key has {_kind(wrong)}, U+{ord(wrong):04X}, which some stores cannot store: {key!a:.99}"
        )
    if (prefix or plain).split("/", 1)[0] == _RESERVED:
        raise InvalidKey(
            f"the first part of a key cannot be {_RESERVED!r}, which ZooKeeper reserves for itself: {key!r:.99}"
        )
    size = len(join(prefix, plain).encode())
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"the key has {size} bytes with its prefix, {MAX_KEY_BYTES} are allowed: {key[:40]!r}..."
        )
    return plain


# What has become printable since Unicode 12, whose tables a Consul of 2020 has; later versions of
# Python know later tables, and a key must be the same key for all of them.
_ADDED_SINCE_UNICODE_12 = """
    61D 870-88E 897-89F 8B5 8BE-8D2 B55 C3C C5D CDD CF3 D04 D81 ECE 170D 1715 171F 180F 1ABF-1ACE
    1B4C 1B4E-1B4F 1B7D-1B7F 1C89-1C8A 1DFA 20C0 2427-2429 2B97 2C2F 2C5F 2E50-2E5D 2FFC-2FFF
    31BB-31BF 31E4-31E5 31EF 32FF 4DB6-4DBF 9FF0-9FFF A7C0-A7C1 A7C7-A7CD A7D0-A7D1 A7D3 A7D5-A7DC
    A7F2-A7F6 A82C AB68-AB6B FBC2 FD40-FD4F FDCF FDFE-FDFF
"""


_TOO_NEW = frozenset(
    chr(code)
    for first, _, last in (part.partition("-") for part in _ADDED_SINCE_UNICODE_12.split())
    for code in range(int(first, 16), int(last or first, 16) + 1)
)


def _kind(char: str) -> str:
    if char < " " or "\x7f" <= char <= "\x9f":
        return "a control character"
    if "\ud800" <= char <= "\udfff":
        return "a lone surrogate"
    if char > "\uffff":
        return "a character beyond the basic plane"
    return "a character that cannot be printed"


def join(prefix: str, key: str) -> str:
    """Put a normalised prefix before a normalised key."""
    return f"{prefix}/{key}" if prefix else key
