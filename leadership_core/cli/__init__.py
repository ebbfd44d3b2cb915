"""The command line program `leadership`."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
