"""Keys: the same ones on every store, and given back as they were written."""

from __future__ import annotations

from ...errors import InvalidKey
from ...internals import internals
from ...keys import MAX_KEY_BYTES
from ..lab import Lab
from .expectations import is_equal, is_true, raises

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
    """The grammar of keys, and that a store keeps to it."""

    def test_every_legal_key_is_a_key_of_its_own(self, lab: Lab) -> None:
        """Spaces, Unicode, and what means something to a shell, a URL or a query mean nothing."""
        top, store = lab.key(), lab.store
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

    def test_the_longest_key_works(self, lab: Lab) -> None:
        """A key of 512 bytes with the prefix, in one part or in many, is a key like others."""
        for fill in ("x", "ü", "p/"):
            key = lab.key()
            room = MAX_KEY_BYTES - len(internals(lab.store).full_key(key).encode()) - 1
            key = f"{key}/{fill * (room // len(fill.encode()))}".rstrip("/")
            entry = lab.store.put(key, b"1")
            is_equal(lab.store.get(key), entry, f"a long key of {fill!r}")
            is_equal(lab.store.list(key.rpartition("/")[0]), [entry], "and listed")
            is_true(lab.store.delete(key), "and deleted")

    def test_slashes_around_a_key_are_left_out(self, lab: Lab) -> None:
        """One at the beginning or at the end names the same key."""
        key = lab.key("a")
        entry = lab.store.put(f"/{key}/", b"1")
        is_equal(entry.key, key, "the key of the entry")
        is_equal(lab.store.get(key), entry, "get")
        is_equal(lab.store.get(f"{key}/"), entry, "get with a slash at the end")
        is_true(lab.store.delete(f"/{key}"), "delete")

    def test_no_store_takes_an_illegal_key(self, lab: Lab) -> None:
        """What one store cannot keep is refused on all, before anything is sent."""
        illegal = ["", "/", "a//b", "a/./b", "../a", "a/..", "a\0b", "a\nb", "\ud800", "x" * 513]
        for key in [*illegal, *(f"a{char}b/c" for char in _UNPRINTABLE)]:
            raises(InvalidKey, lambda key=key: lab.store.get(key), f"get of {key[:9]!a}")  # type: ignore[misc]
            raises(InvalidKey, lambda key=key: lab.store.put(key, b""), f"put of {key[:9]!a}")  # type: ignore[misc]
            raises(InvalidKey, lambda key=key: lab.store.election(key), f"race {key[:9]!a}")  # type: ignore[misc]
