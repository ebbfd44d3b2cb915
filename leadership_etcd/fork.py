"""gRPC and forked children: what is inherited is never touched, and a child gets its own.

gRPC's core has threads and locks that a forked child inherits without their threads. To free one
of its objects there is to close it, which may wait for ever, or write to a connection that is
still the parent's. So in a child, what the parent made is never freed. And a child that opens a
store of its own loads the core once more, from a copy of its file, because the loader takes the
same file for the same library; that copy knows nothing of the fork.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from leadership_core.errors import ForkedStore
from leadership_core.fork import leak
from leadership_core.greenlets import gevent_has_patched_threads

__all__ = ["renew_grpc", "use_greenlets"]

_CORE = "grpc._cython.cygrpc"

_for_gevent: list[object] = []  # the cores that wait in gevent's threads


def renew_grpc() -> None:
    """In a forked child of a process that has loaded gRPC here, load it anew.

    Raises:
        ForkedStore: that does not work here.
    """
    ours = sys.modules.get(f"{__package__}.proto")
    if ours is None or os.getpid() == ours.PID:
        return
    core = sys.modules.get(_CORE)
    # What of ours has taken hold of the old one has to be loaded anew, too.
    mine = f"{__package__}."
    old = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.split(".")[0] == "grpc" or (name.startswith(mine) and name != __name__)
    }
    leak(old)
    if core is None or core.__file__ is None:
        return
    try:
        with _copy(Path(core.__file__)) as copy, _found_at(copy):
            importlib.import_module("grpc")
    except (ImportError, OSError) as error:
        sys.modules.update(old)
        raise ForkedStore(
            "gRPC does not survive a fork, and cannot be loaded anew in this child "
            f"({error}); start processes with 'spawn' or 'forkserver'"
        ) from error


def use_greenlets() -> None:
    """Let gRPC wait in threads of gevent's pool if threads are greenlets; before a channel is made.

    Its core waits in C, where gevent cannot switch: every greenlet of the process would stand still.
    """
    if not gevent_has_patched_threads():
        return
    core = importlib.import_module(_CORE)
    if core not in _for_gevent:
        importlib.import_module("grpc.experimental.gevent").init_gevent()
        _for_gevent.append(core)


@contextmanager
def _copy(file: Path) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create(file.name)
        with open(handle, "wb") as copy, file.open("rb") as source:  # noqa: PTH123
            shutil.copyfileobj(source, copy)
            copy.flush()
            yield f"/proc/self/fd/{handle}"
        return
    with NamedTemporaryFile(suffix=file.name) as copy, file.open("rb") as source:
        shutil.copyfileobj(source, copy)
        copy.flush()
        yield copy.name


@contextmanager
def _found_at(place: str) -> Iterator[None]:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
            if name != _CORE:
                return None
            loader = importlib.machinery.ExtensionFileLoader(name, place)
            return importlib.util.spec_from_file_location(name, place, loader=loader)

    sys.meta_path.insert(0, Finder)
    try:
        yield
    finally:
        sys.meta_path.remove(Finder)
