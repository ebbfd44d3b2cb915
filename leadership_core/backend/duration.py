"""Parser of durations such as ``15``, ``15s``, ``1.5m``, ``1m30s`` and ``500ms``."""

from __future__ import annotations

import math
import re

__all__ = ["parse_duration"]

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"(\d+(?:\.\d*)?|\.\d+)(ms|[hms])"
_PARTS = re.compile(_PART, re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART})+", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the duration in seconds.

    Args:
        text: a number of seconds, or one or more numbers that are each followed by `h`, `m`, `s`
            or `ms`.

    Raises:
        ValueError: it is neither, or not finite.
    """
    try:
        seconds = float(text)
    except ValueError:
        if not _WHOLE.fullmatch(text):
            raise ValueError("not a duration") from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(text))
    if not math.isfinite(seconds):
        raise ValueError("not a finite duration")
    return seconds
