"""Namespace of one open store: translation of keys between users and the backend.

The two differ by the prefix of the store's URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ..backend.entries import ABSENT, ANY, Change, Entry, Expected
from ..backend.fence import Fence
from ..backend.keys import join, normalise
from ..backend.validation import safe_repr
from ..errors import ConfigurationError
from .reentrancy import run_callback

__all__ = ["Namespace"]

# A lone surrogate stands for a byte that is not UTF-8, and Go and Java put the replacement character
# in the place of such bytes. No key of this library has either.
_NOT_TEXT = re.compile("[\ud800-\udfff\ufffd]")


class Namespace:
    """Adds the prefix to the keys of users, and removes it from the entries of the backend.

    Args:
        prefix: the prefix in the URL, normalised; "" for none.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def normalise(self, key: str) -> str:
        """The key as this library writes it; raises `InvalidKey`."""
        return normalise(key, self.prefix)

    def full(self, key: str) -> str:
        """The key as the backend sees it; raises `InvalidKey`."""
        return join(self.prefix, self.normalise(key))

    def subtree(self, prefix: str) -> str:
        """The prefix of a list as the backend sees it; "" stands for all below the URL's prefix."""
        if isinstance(prefix, str) and not prefix.strip("/"):
            return self.prefix
        return self.full(prefix)

    def strip_prefix(self, entry: Entry) -> Entry:
        """The entry of the backend as users see it."""
        if not self.prefix:
            return entry
        short = entry.key.removeprefix(f"{self.prefix}/")
        return Entry(short, entry.value, entry.revision, entry.session)

    def strip_prefixes(self, entries: Iterable[Entry]) -> list[Entry]:
        """Entries of the backend as users see them, without those whose key is not text.

        Another program's key may not be UTF-8. Consul and ZooKeeper then return a replacement key,
        the same one for several, so that requests with it would concern another entry.
        """
        return [self.strip_prefix(entry) for entry in entries if not _NOT_TEXT.search(entry.key)]

    def fence(self, fence: Fence | str) -> Fence:
        """A fence that a user passes, with the key as the backend sees it.

        Raises:
            ConfigurationError: it is not a fence.
        """
        if isinstance(fence, str):
            fence = Fence.parse(fence)
        elif not isinstance(fence, Fence):
            raise ConfigurationError(
                f"the fence must be a Term, its .fence or str(term.fence), not {safe_repr(fence)}"
            )
        return Fence(self.full(fence.key), fence.token)

    def reporter(self, on_change: Callable[[Change], None]) -> Callable[[Change], None]:
        """A callback for the backend's watch that reports entries as users see them."""

        def report(change: Change) -> None:
            match change:
                case Entry():
                    run_callback(on_change, self.strip_prefix(change))
                case [*entries]:
                    run_callback(on_change, self.strip_prefixes(entries))
                case _:
                    run_callback(on_change, change)

        return report

    def expected(self, key: str, expect: Expected) -> Expected:
        """The `expect` argument of a user, as the backend compares it.

        Raises:
            ConfigurationError: it is not an entry of that key, `ABSENT` or `ANY`.
        """
        if expect is ANY or expect is ABSENT:
            return expect
        if not isinstance(expect, Entry):
            raise ConfigurationError(
                f"expect= must be an Entry, ABSENT or ANY, not {type(expect).__name__}"
            )
        if expect.key != self.normalise(key):
            raise ConfigurationError(f"the expected entry has the key {expect.key!r}, not {key!r}")
        return Entry(self.full(key), expect.value, expect.revision, expect.session)
