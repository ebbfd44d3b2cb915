"""Packet loss below TCP, at a socket's receiving side.

A proxy that does not read lets the kernel acknowledge everything all the same. Only below TCP is
a loss what it is in life: nothing is acknowledged, the other side sends again, ever more rarely,
connects hang instead of being refused, and a connection is gone without notice. Linux lets any
program filter what its own sockets receive, and that needs no rights.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct

__all__ = ["lose_packets", "pass_packets"]

_ATTACH, _DETACH = 26, 27  # SO_ATTACH_FILTER, SO_DETACH_FILTER
_RANDOM = 0xFFFF_F000 + 56  # where a filter reads a random number: SKF_AD_OFF + SKF_AD_RANDOM
_LOAD, _IF_AT_LEAST, _RETURN = 0x20, 0x35, 0x06
_ALL = 0x40000  # bytes of a packet to keep


def lose_packets(sock: socket.socket, share: float) -> None:
    """Lose a share (0 to 1) of the packets received by a socket, or by a listener's connections."""
    program = [(_RETURN, 0, 0, 0)]
    if share < 1:
        least = int((1 - share) * 2**32)
        program = [(_LOAD, 0, 0, _RANDOM), (_IF_AT_LEAST, 0, 1, least), *program]
        program.append((_RETURN, 0, 0, _ALL))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    filtered = struct.pack("HL", len(program), ctypes.addressof(code))
    if sock.fileno() >= 0:  # it may have been closed meanwhile
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH, filtered)


def pass_packets(sock: socket.socket) -> None:
    """Lose no more packets; the sender repeats the lost ones when TCP says so."""
    with contextlib.suppress(OSError):  # there was no filter
        sock.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
