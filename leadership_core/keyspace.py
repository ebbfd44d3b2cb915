"""The keys of one open store: as users write them, and as the backend sees them.

They differ by the prefix of the store's URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .errors import ConfigurationError
from .keys import join, normalise
from .reentry import run_callback
from .store import ABSENT, ANY, Change, Entry, Expected

__all__ = ["Keyspace"]

# A lone surrogate is a byte that is no UTF-8, and the replacement character what Go and Java make
# of such bytes. No key of this library has either.
_NO_TEXT = re.compile("[\ud800-\udfff\ufffd]")


class Keyspace:
    """Translates between the two.

    Args:
        prefix: of the URL, normalised; "" for none.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def normalise(self, key: str) -> str:
        """The key as this library writes it; raises `InvalidKey`."""
        return normalise(key, self.prefix)

    def full(self, key: str) -> str:
        """The key as the backend sees it; raises `InvalidKey`."""
        return join(self.prefix, self.normalise(key))

    def tree(self, prefix: str) -> str:
        """What is to be listed, as the backend sees it: "" stands for all that the URL covers."""
        if isinstance(prefix, str) and not prefix.strip("/"):
            return self.prefix
        return self.full(prefix)

    def mine(self, entry: Entry) -> Entry:
        """An entry of the backend as users see it."""
        if not self.prefix:
            return entry
        short = entry.key.removeprefix(f"{self.prefix}/")
        return Entry(short, entry.value, entry.revision, entry.session)

    def listed(self, entries: Iterable[Entry]) -> list[Entry]:
        """Entries of the backend as users see them, without those whose key is no text.

        Another program's key may be no UTF-8. Consul and ZooKeeper then give another key in its
        place, the same one for several, so that what is said of it would be untrue.
        """
        return [self.mine(entry) for entry in entries if not _NO_TEXT.search(entry.key)]

    def reporter(self, on_change: Callable[[Change], None]) -> Callable[[Change], None]:
        """A callback for the backend's watch that reports entries as users see them."""

        def report(change: Change) -> None:
            match change:
                case Entry():
                    run_callback(on_change, self.mine(change))
                case [*entries]:
                    run_callback(on_change, self.listed(entries))
                case _:
                    run_callback(on_change, change)

        return report

    def expected(self, key: str, expect: Expected) -> Expected:
        """What a user expects at the key, as the backend compares it.

        Raises:
            ConfigurationError: it is nothing that can be expected there.
        """
        if expect is ANY or expect is ABSENT:
            return expect
        if not isinstance(expect, Entry):
            raise ConfigurationError(
                f"what is expected is an Entry, ABSENT or ANY, not {type(expect).__name__}"
            )
        if expect.key != self.normalise(key):
            raise ConfigurationError(
                f"the expected entry is that of {expect.key!r}, and the key is {key!r}"
            )
        return Entry(self.full(key), expect.value, expect.revision, expect.session)
