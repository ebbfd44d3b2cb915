"""Addresses of the hosts in a store's URL, the order in which they are tried, and TCP connections.

A DNS name may have several addresses, each of a server that can fail alone. So the addresses of a
name are tried in turn, as the hosts of a URL are, and failures are remembered. The addresses of a
name may change, so it is resolved again for a new connection.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import clock
from .resolver import resolve
from .url import Host

__all__ = ["Address", "Addresses", "Attempt", "connected", "is_unknown_host", "verified_name"]

_FRESH = 1.0  # seconds for which a name is not resolved again
_FORGOTTEN = 30.0  # seconds after which a failure is forgotten

_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host.

    Attributes:
        host: as the URL has it.
        family: the address family of its sockets.
        sockaddr: the argument of `socket.connect`.
    """

    host: Host
    family: int
    sockaddr: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The name that the server's certificate must be valid for; see `verified_name`."""
        return verified_name(self.host.name)

    @property
    def number(self) -> str:
        """The address in figures, such as ``10.0.0.1`` or ``fe80::1%eth0``."""
        return socket.getnameinfo(self.sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]

    def __str__(self) -> str:
        figures = str(self.sockaddr[0])
        same = figures.partition("%")[0] == self.host.name.partition("%")[0]
        return str(self.host) if same else f"{self.host} ({figures})"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address to try, or a host whose name could not be resolved.

    Attributes:
        host: as the URL has it.
        address: None if the name of the host could not be resolved.
        error: the reason for that.
        until: when to go on with the next address, on `clock.now`.
    """

    host: Host
    address: Address | None
    error: OSError | None
    until: float


class Addresses:
    """The addresses of several hosts, in the order in which to try them; thread-safe.

    The address that is known to work comes first. Then come those that have not failed in the last
    30 s, in the order of the URL and of the name server, then those that have, the oldest failure
    first. A caller that spreads its connections calls `used`: among those that have not failed, the
    one that was used last comes last.

    Args:
        hosts: the hosts, each with its port.
        thread: the name of the threads that resolve names.
    """

    def __init__(self, hosts: Sequence[Host], *, thread: str) -> None:
        self._hosts = tuple(dict.fromkeys(hosts))
        self._thread = thread
        # Reentrant, because a signal handler may make a request in the middle of another one.
        self._lock = threading.RLock()
        self._found: dict[Host, tuple[Address, ...]] = {}
        self._resolved: dict[Host, float] = {}  # when, on `clock.now`
        self._failed: dict[Address | Host, float] = {}  # when
        self._used: dict[Address | Host, float] = {}  # when
        self._works: Address | None = None

    @property
    def count(self) -> int:
        """The number of addresses; a name that is not resolved yet counts as one."""
        return len(self.entries())

    def attempts(
        self,
        until: float,
        *,
        is_connected: Callable[[Address], bool] = lambda _: False,
        wanted: Callable[[], bool] = lambda: True,
        one_host: bool = False,
    ) -> Iterator[Attempt]:
        """Yield each address once, best first; names are resolved when their turn comes.

        Each attempt gets its share of the remaining time. If the name server does not answer, the
        previous addresses of the name are used; not so if it says that the name does not exist.

        Args:
            until: when to give up, on `clock.now`.
            is_connected: whether an address has a connection already, so that its name need not be
                resolved again.
            wanted: returns False when the connection is no longer needed.
            one_host: stop after the addresses of the first host.
        """
        tried: set[Address | Host] = set()
        asked: set[Host] = set()
        only: Host | None = None
        while left := [e for e in self.entries() if e not in tried and only in {None, _host(e)}]:
            entry = left[0]
            host = _host(entry)
            if one_host:
                only = host
                left = [e for e in left if _host(e) == host]
            share = clock.now() + (until - clock.now()) / len(left)
            is_fresh = clock.now() - self._resolved.get(host, -math.inf) < _FRESH
            if entry == host or not (host in asked or is_fresh or is_connected(_address(entry))):
                asked.add(host)
                problem = self._resolve(host, share, wanted)
                if problem is None or host in self._found:
                    continue
                self.failed(host)
                attempt = Attempt(host, None, problem, share)
                tried.add(host)
            else:
                attempt = Attempt(host, _address(entry), None, share)
                tried.add(entry)
            yield attempt

    def failed(self, entry: Address | Host) -> None:
        """Note a failure: from now on it is tried after all others."""
        with self._lock:
            self._failed[entry] = clock.now()
            if self._works == entry:
                self._works = None

    def works(self, address: Address) -> None:
        """Note a success: from now on it is tried first, unless another one is known to work."""
        with self._lock:
            if self._works is None:
                self._works = address

    def used(self, address: Address) -> None:
        """Note a connection: from now on it is tried after the others that have not failed."""
        with self._lock:
            self._used[address] = clock.now()

    def entries(self) -> list[Address | Host]:
        """All addresses in order; a host that is not resolved yet stands for its addresses."""
        long_ago = clock.now() - _FORGOTTEN
        with self._lock:
            entries: list[Address | Host] = []
            for host in self._hosts:
                entries += self._found.get(host) or (host,)
            if len(entries) == 1:
                return entries
            works, used = self._works, dict(self._used)
            failed = {entry: at for entry, at in self._failed.items() if at > long_ago}

        def rank(entry: Address | Host) -> tuple[bool, float, float]:
            return entry != works, failed.get(entry, -math.inf), used.get(entry, -math.inf)

        return sorted(entries, key=rank)

    def _resolve(self, host: Host, until: float, wanted: Callable[[], bool]) -> OSError | None:
        known = host in self._found
        seconds = (until - clock.now()) / (2 if known else 1)
        try:
            found = resolve(host.name, host.port or 0, seconds, thread=self._thread, wanted=wanted)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        except OSError as error:
            if is_unknown_host(error):
                with self._lock:
                    self._found.pop(host, None)
            return error
        addresses = dict.fromkeys(Address(host, one[0], one[4]) for one in found)
        with self._lock:
            for gone in set(self._found.get(host, ())) - set(addresses):
                self._failed.pop(gone, None)
                self._used.pop(gone, None)
                if self._works == gone:
                    self._works = None
            self._found[host] = tuple(addresses)
            self._resolved[host] = clock.now()
            self._failed.pop(host, None)
        return None


def connected(address: Address, until: float) -> socket.socket:
    """Return a new TCP connection to an address; raises OSError.

    Args:
        address: the address of the server.
        until: when to give up, on `clock.now`; it is the timeout of the socket, too.
    """
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.001, until - clock.now()))
        sock.connect(address.sockaddr)
        sock.settimeout(max(0.001, until - clock.now()))
    except BaseException:
        sock.close()
        raise
    return sock


def verified_name(host: str) -> str:
    """Return the name that a certificate must be valid for, also sent to the server (SNI).

    It has no dot at the end, as complete DNS names may, because certificates have none there, and
    no zone of an IPv6 address.
    """
    return host.removesuffix(".").partition("%")[0]


def is_unknown_host(error: BaseException) -> bool:
    """Whether a name server has answered that the name does not exist."""
    # EAI_AGAIN: the name server does not answer, which may be temporary.
    return isinstance(error, socket.gaierror) and error.errno in _UNKNOWN


def _host(entry: Address | Host) -> Host:
    return entry.host if isinstance(entry, Address) else entry


def _address(entry: Address | Host) -> Address:
    assert isinstance(entry, Address)
    return entry
