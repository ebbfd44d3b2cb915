"""What becomes of gRPC's objects in a forked child: nothing, whatever the child does.

To free one of them is to close it, which takes locks that a thread of the parent may have held
at the fork, and may write to a connection that is still the parent's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

__all__ = ["immortalise"]


def immortalise(objects: Iterable[object]) -> None:
    """Let these objects never be freed, not at the end of the interpreter either."""
    keep = getattr(ctypes.pythonapi, "Py_IncRef", None)
    if keep is None:  # not CPython: whether that frees anything at its end is not ours to say
        _kept.extend(objects)
        return
    for one in list(objects):
        keep(ctypes.py_object(one))


_kept: list[object] = []
