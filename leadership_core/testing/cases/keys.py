"""Cases of keys: the same keys are legal on every store, and are kept as written."""

from __future__ import annotations

from ...backend.keys import MAX_KEY_BYTES
from ...engine.store_base import internals
from ...errors import InvalidKey
from ..sandbox import Sandbox
from .assertions import is_equal, is_true, raises

__all__ = ["KeyCases"]

_PARTS = [
    "with spaces in it",
    " space around ",
    "ünï-cödé",
    "日本語",
    "a%2Fb",
    "a?b=c&d",
    "a#b",
    "a+b",
    "a%b_c*d[e]",
    "quote'\"`",
    "back\\slash",
    "$HOME{x}(y)",
    "a:b;c,d@e|f~g^h<i>",
    ".hidden",
    "...",
    "-",
    "UPPER",
    "upper",
    "é",  # one character
    "e\u0301",  # the same to the eye, and another key
    "a=b",
    "zookeeper",
    "a",
    "A",
    "a%",
    "a_",
    "a'",
    "0123456789abcdef",
    "lock-0000000001",
]


# One of each kind: a no-break space, a soft hyphen, a zero-width space, marks of direction, a line and
# a paragraph separator, an ideographic space, a byte order mark, an unassigned character, private
# use, a noncharacter, a special, a control character of C1, an emoji, a letter of Unicode 14.
_UNPRINTABLE = (
    "\xa0\xad\u200b\u200f\u202e\u2028\u2029\u3000\ufeff\u0378\ue000\ufdd0\uffff\ufffd\x85\U0001f600"
    "\u08c8"
)


class KeyCases:
    """Legal and illegal keys."""

    def test_legal_keys_are_distinct(self, sandbox: Sandbox) -> None:
        """Spaces, Unicode, and characters that are special to a shell, a URL or a query are plain here."""
        top, store = sandbox.key(), sandbox.store
        for part in _PARTS:
            store.put(f"{top}/{part}", part.encode())
            store.put(f"{top}/below/{part}/x", b"")
        for part in _PARTS:
            found = store.get(f"{top}/{part}")
            assert found is not None, f"the key {part!r} was lost"
            is_equal((found.key, found.value), (f"{top}/{part}", part.encode()), f"key {part!r}")
            below = [entry.key for entry in store.list(f"{top}/below/{part}")]
            is_equal(below, [f"{top}/below/{part}/x"], f"what is below {part!r}")
        listed = {entry.key for entry in store.list(top)}
        wanted = {f"{top}/{p}" for p in _PARTS} | {f"{top}/below/{p}/x" for p in _PARTS}
        is_equal(listed, wanted, "all keys")
        is_equal(store.delete_tree(top), len(wanted), "delete_tree")

    def test_longest_key_works(self, sandbox: Sandbox) -> None:
        """A key of 512 bytes including the prefix works, in one part or in many."""
        for fill in ("x", "ü", "p/"):
            key = sandbox.key()
            room = MAX_KEY_BYTES - len(internals(sandbox.store).namespace.full(key).encode()) - 1
            key = f"{key}/{fill * (room // len(fill.encode()))}".rstrip("/")
            entry = sandbox.store.put(key, b"1")
            is_equal(sandbox.store.get(key), entry, f"a long key of {fill!r}")
            is_equal(sandbox.store.list(key.rpartition("/")[0]), [entry], "and listed")
            is_true(sandbox.store.delete(key), "and deleted")

    def test_slashes_around_a_key_are_removed(self, sandbox: Sandbox) -> None:
        """A slash at the beginning or at the end names the same key."""
        key = sandbox.key("a")
        entry = sandbox.store.put(f"/{key}/", b"1")
        is_equal(entry.key, key, "the key of the entry")
        is_equal(sandbox.store.get(key), entry, "get")
        is_equal(sandbox.store.get(f"{key}/"), entry, "get with a slash at the end")
        is_true(sandbox.store.delete(f"/{key}"), "delete")

    def test_illegal_keys_are_refused(self, sandbox: Sandbox) -> None:
        """A key that one store cannot keep is refused on all stores, before any request is sent."""
        illegal = ["", "/", "a//b", "a/./b", "../a", "a/..", "a\0b", "a\nb", "\ud800", "x" * 513]
        for key in [*illegal, *(f"a{char}b/c" for char in _UNPRINTABLE)]:
            raises(InvalidKey, lambda key=key: sandbox.store.get(key), f"get of {key[:9]!a}")  # type: ignore[misc]  # mypy infers no lambda with defaults
            raises(InvalidKey, lambda key=key: sandbox.store.put(key, b""), f"put of {key[:9]!a}")  # type: ignore[misc]  # mypy infers no lambda with defaults
            raises(InvalidKey, lambda key=key: sandbox.store.election(key), f"election {key[:9]!a}")  # type: ignore[misc]  # mypy infers no lambda with defaults
