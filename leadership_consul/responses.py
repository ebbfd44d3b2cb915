"""Consul's JSON answers: key-value pairs and session ids, validated.

A list of keys is parsed one element at a time: three bytes of JSON can make an object of seventy
bytes in memory, so a long answer is never parsed as a whole. The first element that is not
Consul's ends it, and so does the deadline of the request.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator, Sequence
from json import JSONDecoder
from typing import Any, NamedTuple, Self

from leadership_core.backend import StoreUnavailable, clock

__all__ = [
    "KeyValue",
    "LastList",
    "Operation",
    "decode_value",
    "iter_objects",
    "parse_kv",
    "parse_kv_list",
    "parse_session_id",
    "parse_txn",
    "txn_results_start",
]

Operation = dict[str, Any]
"""One operation of a transaction, as `Client.txn` sends it."""

_SESSION_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")
_WITHOUT_RESULT = {"delete", "delete-cas", "delete-tree", "check-not-exists"}

_WINDOW = 4 * 1024**2  # characters that are parsed at a time; an element has half of it at most
_CLOCK_INTERVAL = 500  # elements between two checks of the deadline
_SPACE = re.compile(r"[ \t\n\r]*")
_ANOTHER_KEY = "it is about another key"
_RESULTS = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"Results"[ \t\n\r]*:')
_decode = JSONDecoder().raw_decode


class KeyValue(NamedTuple):
    """A key-value pair: a tuple, since a poll may read ten thousand of them; see https://developer.hashicorp.com/consul/api-docs/kv#read-key.

    Attributes:
        key: with the prefix of the URL.
        value: empty in the answer to a transaction, which omits it.
        flags: an unsigned integer, by which clients mark what the key is for.
        session: id of the session that has locked it.
        create_index: index of the write that created it.
        modify_index: index of the last write; the index grows with every write in the datacenter.
        lock_index: how often it was locked since it was created or written without its lock.
    """

    key: str
    value: bytes
    flags: int
    session: str | None
    create_index: int
    modify_index: int
    lock_index: int

    @classmethod
    def parse(cls, item: dict[str, Any]) -> Self:
        """Read a JSON object; raises ValueError, KeyError or TypeError if it is no pair."""
        value = item.get("Value")
        return cls(
            _text(item["Key"]),
            value if isinstance(value, bytes) else b"",
            _number(item["Flags"]),
            _text(item.get("Session") or "") or None,
            _number(item["CreateIndex"]),
            _number(item["ModifyIndex"], 1),
            _number(item["LockIndex"]),
        )


class LastList:
    """The last list that a poll was answered with: where nothing has changed, it is not parsed again.

    An agent that has waited in vain answers with the whole list. Ten thousand keys take a tenth of
    a second to parse.
    """

    def __init__(self) -> None:
        self._digest = b""
        self._pairs: list[KeyValue] = []

    def of(self, text: str) -> list[KeyValue] | None:
        """The pairs of the last answer, if this is its text."""
        return self._pairs if self._digest_of(text) == self._digest else None

    def note(self, text: str, pairs: list[KeyValue]) -> None:
        """Keep the pairs of an answer."""
        self._digest, self._pairs = self._digest_of(text), pairs

    @staticmethod
    def _digest_of(text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def parse_kv(key: str, item: dict[str, Any] | None) -> list[KeyValue]:
    """The pair of a key, if there is one; raises ValueError if it is that of another key."""
    if item is None:
        return []
    pair = KeyValue.parse(item)
    if pair.key != key:
        raise ValueError(_ANOTHER_KEY)
    return [pair]


def parse_kv_list(path: str, items: Iterable[dict[str, Any]] | None) -> list[KeyValue]:
    """The pairs whose keys begin with a path; raises ValueError at the first other one."""
    found = []
    for item in items or ():
        pair = KeyValue.parse(item)
        if not pair.key.startswith(path):
            raise ValueError(_ANOTHER_KEY)
        found.append(pair)
    return found


def parse_txn(operations: Sequence[Operation], results: Iterable[Any] | None) -> list[KeyValue]:
    """The results of a transaction's operations.

    Args:
        operations: of the transaction.
        results: their JSON objects; an operation that deletes has none.

    Raises:
        ValueError: they are not those of the last operation.
    """
    found = [KeyValue.parse(result["KV"]) for result in results or ()]
    last = operations[-1]
    if last["Verb"] in _WITHOUT_RESULT:
        return found
    if not found or found[-1].key != last["Key"]:
        raise ValueError("it does not say what was written")
    if last["Verb"] == "lock" and found[-1].session != last["Session"]:
        raise ValueError("it names another session")
    return found


def parse_session_id(found: Any) -> str:
    """The id of a session; raises ValueError if it is none."""
    text = _text(found)
    if not _SESSION_ID.fullmatch(text):
        raise ValueError("it names no session")
    return text


def iter_objects(text: str, until: float, start: int = 0) -> Iterator[dict[str, Any]]:
    """The objects of a JSON list; none for `null`.

    Args:
        text: contains the list.
        until: the deadline, on `clock.now`.
        start: where the list begins.

    Raises:
        ValueError: it is not a list of objects.
        StoreUnavailable: the deadline has passed.
    """
    at = _skip_space(text, start)
    if text.startswith("null", at):
        return
    if not text.startswith("[", at):
        raise ValueError("it is no list")
    at = _skip_space(text, at + 1)
    if text.startswith("]", at):
        return
    window, count = text[at : at + _WINDOW], 0
    begin, at = at, 0
    while True:
        if len(window) - at < _WINDOW // 2 and begin + len(window) < len(text):
            begin += at
            window, at = text[begin : begin + _WINDOW], 0
        if not window.startswith("{", at):
            raise ValueError("an element of the list is no object")
        item, at = _decode(window, at)
        yield item
        count += 1
        if count % _CLOCK_INTERVAL == 0 and clock.now() >= until:
            raise StoreUnavailable("the deadline passed while the answer was parsed")
        if window.startswith(",{", at):  # as Consul writes it
            at += 1
            continue
        at = _skip_space(window, at)
        if window.startswith("]", at):
            return
        if not window.startswith(",", at):
            raise ValueError("the list breaks off, or has an element that is too long")
        at = _skip_space(window, at + 1)


def txn_results_start(text: str) -> int:
    """Where the list of results begins in the answer to a transaction.

    Raises:
        ValueError: there is none.
    """
    found = _RESULTS.match(text)
    if found is None:
        raise ValueError("it has no results")
    return found.end()


def decode_value(item: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a pair, with its value decoded from base64."""
    value = item.get("Value")
    return item if value is None else {**item, "Value": a2b_base64(value)}


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError(f"a {type(found).__name__} where a text should be")  # noqa: TRY004 - as JSON's errors
    return found


def _number(found: Any, least: int = 0) -> int:
    # A float or a boolean may be equal to an integer, and is none.
    if type(found) is not int or not least <= found < 2**64:
        raise ValueError("it has no number where one should be, or one above Consul's limit")
    return found
