"""gRPC and etcd's protobuf messages, loaded so that they work everywhere.

* python-etcd3's generated code: version 0.12 was generated long ago, and protobuf 4 and later
  refuse to run it. But it contains the descriptors, which are still valid: they are read from the
  files, which are not run, and the present protobuf makes the messages of them. Where the
  installed python-etcd3 can be imported, this does not happen.
* Forked children: gRPC's core has threads and locks that a forked child inherits without their
  threads. To free one of its objects there is to close it, which may wait forever, or write to a
  connection that is still the parent's. So in a child nothing that the parent made is ever freed.
  A child that opens a store of its own loads the core once more, from a copy of its file, because
  the dynamic linker takes the same file for the same library; the copy knows nothing of the fork.
  (https://github.com/grpc/grpc/blob/master/doc/fork_support.md)
* gevent: see `use_greenlets`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import ModuleType
from typing import Any

from leadership_core.backend import ForkedStore, gevent_has_patched_threads, leak

__all__ = ["PID", "grpc", "pb", "reload_grpc", "use_greenlets"]

PID = os.getpid()
"""Of the process that has loaded this module."""

_FILES = ("kv", "auth", "rpc")  # of python-etcd3; each needs those before it
_CORE = "grpc._cython.cygrpc"

_gevent_cores: list[object] = []  # cores of gRPC that wait in gevent's threads

# gRPC's core reads these once, when it is loaded. By default it writes to stderr at every fork and
# every handshake that fails, which the user learns of from our errors; and what it does to a child
# at a fork, while other threads are using it, ends one child in four with a crash. Our children
# never touch it.
_SETTINGS = {"GRPC_VERBOSITY": "NONE", "GRPC_ENABLE_FORK_SUPPORT": "0"}

_set = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
if "grpc" in sys.modules:
    _set = {}
os.environ.update(_set)
try:
    import grpc
finally:
    for _name in _set:
        del os.environ[_name]


# -- python-etcd3's messages -----------------------------------------------------------------------


def _messages() -> Any:
    names = []
    try:
        return importlib.import_module("etcd3.etcdrpc")
    except TypeError:  # protobuf says "Descriptors cannot be created directly"
        from google.protobuf import descriptor_pool
        from google.protobuf.internal import builder

        # Make and register the modules that protobuf refused to import.
        for file in _FILES:
            name = f"etcd3.etcdrpc.{file}_pb2"
            module = ModuleType(name)
            described = descriptor_pool.Default().AddSerializedFile(_descriptor(file))
            module.DESCRIPTOR = described  # type: ignore[attr-defined]  # generated modules have one
            builder.BuildMessageAndEnumDescriptors(described, module.__dict__)
            builder.BuildTopDescriptorsAndMessages(described, name, module.__dict__)
            sys.modules[name] = module
            names.append(name)
    try:
        return importlib.import_module("etcd3.etcdrpc")
    except BaseException:
        for name in names:
            del sys.modules[name]
        raise


def _descriptor(file: str) -> bytes:
    spec = importlib.util.find_spec("etcd3")
    if spec is None or spec.origin is None:
        raise ImportError("python-etcd3 (the distribution etcd3) is not installed")
    source = Path(spec.origin).with_name("etcdrpc") / f"{file}_pb2.py"
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            value = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
            text = ast.literal_eval(value)
            return text if isinstance(text, bytes) else str(text).encode("latin-1")
    raise ImportError(f"{source} has no descriptor: this version of python-etcd3 is not supported")


pb: Any = _messages()
"""python-etcd3's generated messages."""


# -- forks and gevent ------------------------------------------------------------------------------


def reload_grpc() -> None:
    """In a forked child of the process that has loaded this module, load gRPC once more.

    This package's modules are removed from `sys.modules` too, this one included, since they refer
    to the old gRPC: import what is needed from them afterwards.

    Raises:
        ForkedStore: that does not work here.
    """
    if os.getpid() == PID:
        return
    core = sys.modules.get(_CORE)
    ours = f"{__package__}."
    old = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.split(".")[0] == "grpc" or name.startswith(ours)
    }
    leak(old)
    if core is None or core.__file__ is None:
        return
    try:
        with _copy(Path(core.__file__)) as copy, _core_at(copy):
            importlib.import_module("grpc")
    except (ImportError, OSError) as error:
        sys.modules.update(old)
        raise ForkedStore(
            "gRPC does not survive a fork, and cannot be loaded once more in this child "
            f"({error}); start processes with 'spawn' or 'forkserver'"
        ) from error


def use_greenlets() -> None:
    """If gevent has patched threads, let gRPC wait in gevent's thread pool; before any channel.

    Its core waits in C, where gevent cannot switch: every greenlet of the process would block.
    """
    if not gevent_has_patched_threads():
        return
    core = importlib.import_module(_CORE)
    if core not in _gevent_cores:
        importlib.import_module("grpc.experimental.gevent").init_gevent()
        _gevent_cores.append(core)


@contextmanager
def _copy(file: Path) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create(file.name)
        with open(handle, "wb") as copy, file.open("rb") as source:  # noqa: PTH123  # a descriptor is opened, not a path
            shutil.copyfileobj(source, copy)
            copy.flush()
            yield f"/proc/self/fd/{handle}"
        return
    with NamedTemporaryFile(suffix=file.name) as copy, file.open("rb") as source:
        shutil.copyfileobj(source, copy)
        copy.flush()
        yield copy.name


@contextmanager
def _core_at(place: str) -> Iterator[None]:
    """Let Python find gRPC's core in another file."""

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
