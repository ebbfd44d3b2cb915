"""What a guarded write compares, for stores that do it themselves in one atomic step."""

from __future__ import annotations

from .errors import Conflict, Fenced
from .store import ABSENT, ANY, Entry, Expected

__all__ = ["check_expected", "check_fence"]


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
