"""Status of a program's elections over HTTP: probes, JSON, server-sent events, and a live page."""

from __future__ import annotations

from .server import StatusServer, serve

__all__ = ["StatusServer", "serve"]
