"""Fence: the term that a write depends on, as a value that can be stored and sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..errors import ConfigurationError

__all__ = ["Fence"]


@dataclass(frozen=True, slots=True)
class Fence:
    """One term of one election: a fenced write succeeds only while its claim leads.

    `str(fence)` is text for another process or for storage, and `Fence.parse` reads it.

    Args:
        key: the election's key.
        token: the fencing token of the term.

    Example:
        >>> str(Fence("jobs/17", 42))
        '42:jobs/17'
        >>> Fence.parse("42:jobs/17")
        Fence(key='jobs/17', token=42)
    """

    key: str
    token: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str(fence)` has written.

        Raises:
            ConfigurationError: the text is not that of a fence.
        """
        if not isinstance(text, str):
            raise ConfigurationError(
                f"a fence must be parsed from a str, not {type(text).__name__}"
            )
        token, _, key = text.partition(":")
        # A token has 64 bits at most; int() refuses texts of thousands of digits.
        if not (key and token.isascii() and token.isdigit() and len(token) <= _MOST_DIGITS):
            raise ConfigurationError(
                f"not a fence: {text!r:.60}; it is written TOKEN:KEY, as str(term.fence) is"
            )
        return cls(key, int(token))

    def __str__(self) -> str:
        return f"{self.token}:{self.key}"


_MOST_DIGITS = 20
