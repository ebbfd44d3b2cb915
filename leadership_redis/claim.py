"""The form in which the script keeps entries, and the claim that a fence is compared with."""

from __future__ import annotations

from leadership_core.backend import Entry, Expected

__all__ = ["decoded", "encoded"]

_NO_SESSION = "-"


def decoded(key: bytes, text: bytes) -> Entry:
    """The entry at a key, as `script.lua` keeps it: ``REVISION SESSION VALUE``."""
    revision, session, value = text.split(b" ", 2)
    bound = None if session == _NO_SESSION.encode() else session.decode()
    return Entry(key.decode(), value, int(revision), bound)


def encoded(expect: Expected) -> str | bytes:
    """The expected entry as `script.lua` keeps it, or ``any`` or ``absent``."""
    if not isinstance(expect, Entry):
        return expect.value
    return b"%d %s %s" % (expect.revision, (expect.session or _NO_SESSION).encode(), expect.value)
