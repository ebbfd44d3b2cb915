"""The threads and timers that drive candidates and followers; one engine per open store."""

from __future__ import annotations

from .engine import Engine

__all__ = ["Engine"]
