"""What a write is checked for: its arguments, and what it compares where the store does not."""

from __future__ import annotations

from .errors import ConfigurationError, Conflict, Fenced
from .store import ABSENT, ANY, Entry, Expected

__all__ = ["check_expected", "check_fence", "check_session", "check_value"]


def check_value(value: object) -> bytes:
    """Return the bytes that a user wants to write; raises `ConfigurationError` if it is none."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ConfigurationError(f"a value is bytes, not {type(value).__name__}")
    return bytes(value)


def check_session(session: object) -> None:
    """Raise `ConfigurationError` unless it looks like a session."""
    if not isinstance(getattr(session, "id", None), str):
        raise ConfigurationError(
            f"a session is what open_session() returns, not {type(session).__name__}"
        )


def check_expected(key: str, current: Entry | None, expect: Expected) -> None:
    """Raise `Conflict` unless the entry is the expected one.

    The key is not compared, the revision is that of one write of one key. Value and session
    are, because a store that was replaced counts its revisions anew.
    """
    if expect is ANY:
        return
    if expect is ABSENT:
        if current is not None:
            raise Conflict(f"{key!r} is there already, with revision {current.revision}")
    elif current is None:
        raise Conflict(f"{key!r} is gone, expected revision {expect.revision}")
    elif (current.revision, current.value, current.session) != (
        expect.revision,
        expect.value,
        expect.session,
    ):
        raise Conflict(
            f"{key!r} has revision {current.revision}, expected revision {expect.revision}"
        )


def check_fence(fence: tuple[str, int], claim: Entry | None) -> None:
    """Raise `Fenced` unless the entry at the fence's key is the claim that the token names.

    Args:
        fence: key and token.
        claim: the entry at that key now; its session, if it has one, is alive.
    """
    key, token = fence
    if claim is None or claim.session is None or claim.revision != token:
        raise Fenced(f"the term with token {token} of {key!r} is over")
