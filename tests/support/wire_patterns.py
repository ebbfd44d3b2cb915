"""Bytes that identify a candidate's requests on the wire, for each store."""

from __future__ import annotations

import base64
import struct

from leadership_etcd.compat import pb
from tests.support.admin_tools import admin_of
from tests.support.testbed import Testbed

__all__ = ["entering", "leaving", "renewing"]


def entering(testbed: Testbed, who: str) -> bytes:
    """Bytes of every request to enter: the value."""
    return base64.b64encode(who.encode()) if testbed.kind == "consul" else who.encode()


def renewing(testbed: Testbed) -> bytes:
    """Bytes of a leader's renewals while it sends nothing else."""
    match testbed.kind:
        case "consul":
            return b"/v1/session/renew/"
        case "etcd":
            lease = admin_of(testbed.server).holder(testbed.key)
            request: bytes = pb.LeaseKeepAliveRequest(ID=lease).SerializeToString()
            return request
        case "postgres":
            return b".renew_1("
        case "redis":
            return b"$5\r\nrenew\r\n"
        case _:
            return struct.pack(">ii", 14, 13)  # a transaction that begins with a check


def leaving(testbed: Testbed) -> bytes:
    """Bytes of the request that withdraws the leader's claim."""
    match testbed.kind:
        case "consul":
            return b'"unlock"'
        case "etcd":
            return f"{testbed.key}/{admin_of(testbed.server).holder(testbed.key):x}".encode()
        case "postgres":
            return b".delete_1("
        case "redis":
            return b"$6\r\ndelete\r\n"
        case _:
            nodes = testbed.server.ephemerals()
            folder = f"/{testbed.key}/"
            path = str(
                min((one for one in nodes if one.startswith(folder)), key=lambda one: one[-10:])
            )
            return struct.pack(">ii", 2, len(path)) + path.encode()  # delete
