"""Keys whose characters a protocol, a URL or a JSON document could change."""

from __future__ import annotations

__all__ = ["SPECIAL_KEYS"]

SPECIAL_KEYS = [
    "plain",
    "with space",
    "ünïcødé/日本",
    "per%cent/%2F/%zz",
    "question?mark=1&x",
    "hash#tag",
    "plus+plus",
    "a:b;c,d=e&f@g!$'()*~",
    "back\\slash",
    'quo"te',
    "{brace}[bracket]|^`",
    "...",
]
