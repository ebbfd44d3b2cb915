"""python-etcd3's messages, with every protobuf from 3.20 on.

The code that python-etcd3 0.12 was released with was generated long ago, and protobuf 4 and
later refuse to run it. But it contains the descriptors, and those are as good as ever: they are
taken out of the files, which are not run, and today's protobuf makes the messages of them.

Where the installed python-etcd3 imports by itself, nothing of this happens.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["PID", "grpc", "rpc"]

_FILES = ("kv", "auth", "rpc")  # each needs those before it


def _messages() -> Any:
    try:
        return importlib.import_module("etcd3.etcdrpc")
    except TypeError:  # "Descriptors cannot be created directly", says protobuf
        names = [_build(file) for file in _FILES]
    try:
        return importlib.import_module("etcd3.etcdrpc")
    except BaseException:
        for name in names:
            del sys.modules[name]
        raise


def _build(file: str) -> str:
    """Make the module that protobuf refused to import, and say under which name it is now."""
    from google.protobuf import descriptor_pool
    from google.protobuf.internal import builder

    name = f"etcd3.etcdrpc.{file}_pb2"
    module = ModuleType(name)
    described = descriptor_pool.Default().AddSerializedFile(_descriptor(file))
    module.DESCRIPTOR = described  # type: ignore[attr-defined]
    builder.BuildMessageAndEnumDescriptors(described, module.__dict__)
    builder.BuildTopDescriptorsAndMessages(described, name, module.__dict__)
    sys.modules[name] = module
    return name


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
    raise ImportError(f"{source} has no descriptor: this python-etcd3 is not one that we know")


# gRPC's core reads these once, when it is loaded. As it comes, it writes to stderr with every fork
# and every handshake that fails, of which the user hears otherwise; and what it does to a child at
# a fork, while other threads are using it, ends one child in four with a crash. Ours never touch it.
_SETTINGS = {"GRPC_VERBOSITY": "NONE", "GRPC_ENABLE_FORK_SUPPORT": "0"}


@contextmanager
def _settings() -> Iterator[None]:
    ours = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    if "grpc" in sys.modules:
        ours = {}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


with _settings():
    import grpc

PID = os.getpid()
"""Of the process that has loaded this."""

rpc: Any = _messages()
"""python-etcd3's generated messages."""
