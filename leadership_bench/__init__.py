"""The measurements of `leadership bench`: this library beside the clients that one would use instead."""

from __future__ import annotations

__all__: list[str] = []
