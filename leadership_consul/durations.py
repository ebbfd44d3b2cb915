"""Durations as Go writes them: ``7.5s``, ``1m30s``."""

from __future__ import annotations

import re

__all__ = ["duration", "parse_duration"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)


def duration(seconds: float) -> str:
    """Write seconds down, to the nanosecond, which is all that Go counts."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def parse_duration(text: str) -> float:
    """Read one; returns seconds, and raises ValueError if it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
