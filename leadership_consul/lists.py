"""Lists in JSON, taken apart one element after the other.

Three bytes of JSON can stand for an object of seventy. So what is longer than an answer about one key
is not taken apart as a whole: the first element that is none of Consul's ends it, and so does the
end of the time for the request.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import Any

from leadership_core import clock
from leadership_core.errors import StoreUnavailable

__all__ = ["items_of", "records_text_of", "with_value"]

_WINDOW = 4 * 1024**2  # characters that are looked at at once; no element is longer than half of it
_LOOK = 500  # elements after which the clock is looked at

_space = re.compile(r"[ \t\n\r]*")
_results = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"Results"[ \t\n\r]*:')
_decode = JSONDecoder().raw_decode


def items_of(text: str, until: float, start: int = 0) -> Iterator[dict[str, Any]]:
    """The objects of a list in JSON; of null there are none.

    Args:
        text: in which the list stands, from `start` on.
        until: on `clock.now`.
        start: where it begins.

    Raises:
        ValueError: it is no list of objects.
        StoreUnavailable: the time is over.
    """
    at = _end_of_space(text, start)
    if text.startswith("null", at):
        return
    if not text.startswith("[", at):
        raise ValueError("it is no list")
    at = _end_of_space(text, at + 1)
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
        if count % _LOOK == 0 and clock.now() >= until:
            raise StoreUnavailable("the time was over before the answer had been read")
        at = _end_of_space(window, at)
        if window.startswith("]", at):
            return
        if not window.startswith(",", at):
            raise ValueError("the list breaks off, or has an element that is too long")
        at = _end_of_space(window, at + 1)


def records_text_of(text: str) -> int:
    """Where the list of results begins in the answer to a transaction.

    Raises:
        ValueError: it is none.
    """
    found = _results.match(text)
    if found is None:
        raise ValueError("it has no results")
    return found.end()


def with_value(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its value decoded."""
    value = item.get("Value")
    return item if value is None else {**item, "Value": base64.b64decode(value)}


def _end_of_space(text: str, at: int) -> int:
    found = _space.match(text, at)
    return at if found is None else found.end()
