"""ZooKeeper's sequence counter of a node, set in a snapshot."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from tests.support.servers.zookeeper import ZooKeeperServer

__all__ = ["LAST", "set_counter"]

LAST = 2**31 - 1
"""The last number that it has for a child."""

_SEAL_END = b"\0\0\0\1/"
_BEFORE = struct.Struct(">q4qi")  # ACL; czxid, mzxid, ctime, mtime; version


def set_counter(server: ZooKeeperServer, path: str, value: int) -> None:
    """Give the next sequential child of a node this number; the server runs afterwards.

    A snapshot is all nodes, one after the other, and is sealed with checksums over all that is
    before them. A server writes one when it starts.
    """
    server.restart()
    server.kill()
    *older, newest = sorted(_files(server, "snapshot"), key=lambda file: int(file.suffix[1:], 16))
    data = bytearray(newest.read_bytes())
    seals = [at for at in _found(data, _SEAL_END) if data[at - 8 : at] == _seal(data[: at - 8])]
    assert seals, "the format of snapshots is another one"

    at = data.index(struct.pack(">i", len(path)) + path.encode()) + 4 + len(path.encode())
    (size,) = struct.unpack_from(">i", data, at)
    struct.pack_into(">i", data, at + 4 + max(size, 0) + _BEFORE.size, value)
    for seal in seals:
        data[seal - 8 : seal] = _seal(data[: seal - 8])

    newest.write_bytes(data)
    for file in [*older, *_files(server, "log")]:
        file.unlink()
    server.start()


def _files(server: ZooKeeperServer, kind: str) -> list[Path]:
    return list((server.folder / "data" / "version-2").glob(f"{kind}.*"))


def _found(data: bytearray, mark: bytes) -> list[int]:
    return [at for at in range(8, len(data)) if data[at : at + len(mark)] == mark]


def _seal(data: bytearray) -> bytes:
    return zlib.adler32(data).to_bytes(8, "big")
