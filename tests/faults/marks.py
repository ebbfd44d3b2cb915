"""What the requests of a candidate look like on the wire, on each store."""

from __future__ import annotations

import base64
import struct

from leadership_etcd.proto import rpc
from tests.faults.stand import Stand
from tests.scenarios.offices import office_of

__all__ = ["entering", "leaving", "renewing"]


def entering(stand: Stand, who: str) -> bytes:
    """What only a request to enter contains: the value."""
    return base64.b64encode(who.encode()) if stand.kind == "consul" else who.encode()


def renewing(stand: Stand) -> bytes:
    """What the renewals of the one that leads contain, while nothing else happens."""
    match stand.kind:
        case "consul":
            return b"/v1/session/renew/"
        case "etcd":
            lease = office_of(stand.server).holder(stand.key)
            request: bytes = rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString()
            return request
        case _:
            return struct.pack(">ii", 14, 13)  # a transaction that begins with a check


def leaving(stand: Stand) -> bytes:
    """What the request contains that takes out the claim that leads, while nothing else happens."""
    match stand.kind:
        case "consul":
            return b'"unlock"'
        case "etcd":
            return f"{stand.key}/{office_of(stand.server).holder(stand.key):x}".encode()
        case _:
            nodes = stand.server.ephemerals()
            folder = f"/{stand.key}/"
            path = str(
                min((one for one in nodes if one.startswith(folder)), key=lambda one: one[-10:])
            )
            return struct.pack(">ii", 2, len(path)) + path.encode()  # delete
