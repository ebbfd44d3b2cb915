"""Record of the claim in an election by observation: one entry beside the election's key.

    leadership/1 EPOCH CLAIM SESSION
    VALUE

EPOCH is a decimal number, the fencing token where the store's revisions do not grow over the whole store
(elsewhere 0). CLAIM is the random id of one request to enter, which makes each record unlike all others. SESSION
is the id of the holder's session, `-` if the claim was released. VALUE is what followers see. Other programs, such
as a script at the server that checks a fence, may rely on this format.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from typing import Self

from ..errors import PluginError
from .entries import Entry

__all__ = ["MOST_TOKEN", "ClaimRecord", "claim_key"]

MOST_TOKEN = 2**63 - 1
"""The highest token, so that programs can store it in eight bytes."""

_HEADER = re.compile(
    rb"leadership/1 ([0-9]{1,19}) ([0-9a-f]{1,64}) ([^\n]{1,512})\n(.*)", re.DOTALL
)
_RELEASED = "-"


def claim_key(key: str) -> str:
    """The key of the claim's record in the election of that key."""
    return f"{key}/.claim"


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """What the entry of the claim says.

    Attributes:
        epoch: the number of the term; 0 where revisions serve as tokens.
        claim: the id of the request that has written it.
        session: the id of its session; None if it was released, or is no record.
        value: what followers see.
        readable: False for an entry that is no such record.
    """

    epoch: int = 0
    claim: str = ""
    session: str | None = None
    value: bytes = b""
    readable: bool = True

    @classmethod
    def of(cls, entry: Entry | None) -> Self:
        """Read the entry; without one, a record of no claim."""
        if entry is None:
            return cls()
        parts = _HEADER.fullmatch(entry.value)
        if parts is not None and 0 <= (epoch := int(parts[1])) < MOST_TOKEN:
            try:
                session = parts[3].decode()
            except UnicodeDecodeError:
                return cls(readable=False)
            return cls(
                epoch, parts[2].decode(), None if session == _RELEASED else session, parts[4]
            )
        return cls(readable=False)

    def encode(self) -> bytes:
        """The bytes to store.

        Raises:
            PluginError: the id of the session does not fit.
        """
        session = _RELEASED if self.session is None else self.session
        header = f"leadership/1 {self.epoch} {self.claim} {session}\n".encode()
        if _HEADER.fullmatch(header) is None or self.session == _RELEASED:
            raise PluginError(f"the id of a session cannot be {session!r:.99}")
        return header + self.value

    def released(self) -> Self:
        """The record after this claim was released: without session and value."""
        return replace(self, claim=uuid.uuid4().hex, session=None, value=b"")
