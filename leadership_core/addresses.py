"""The addresses of the hosts in a store's URL, and the order in which they are tried.

A DNS name may have several addresses, and each of them is a server that can fail alone. So
addresses are to a name what hosts are to a URL: tried in turn, with a memory of what failed. What
a name resolves to may change, so a name is resolved again for a new connection.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import clock
from .names import resolve
from .url import Host

__all__ = ["Address", "Addresses", "Attempt", "connected", "is_unknown_host", "verified_name"]

_FRESH = 1.0  # seconds for which what a name resolved to is not asked for again
_FORGOTTEN = 30.0  # seconds after which a failure counts no more

_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host.

    Attributes:
        host: as the URL has it.
        family: of the socket that connects to it.
        sockaddr: what `socket.connect` takes.
    """

    host: Host
    family: int
    sockaddr: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The name that the server's certificate has to be good for; see `verified_name`."""
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
    """One address that is to be tried, or a host that has none.

    Attributes:
        host: as the URL has it.
        address: None if the host's name could not be resolved.
        error: why not.
        until: when to go on to the next one, on `clock.now`.
    """

    host: Host
    address: Address | None
    error: OSError | None
    until: float


class Addresses:
    """The addresses of several hosts, in the order in which they are to be tried; thread-safe.

    The address that works comes first, if one is known. Then come those that have not failed
    lately, in the order of the URL and of the name server, and then those that have, the one that
    failed first before the others. A caller that spreads its connections says which one it uses:
    of those that have not failed, the one that was used last comes last.

    Args:
        hosts: each with its port.
        thread: the name for the threads that resolve names.
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
        """How many there are; a name that has not been resolved yet counts as one."""
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

        Each attempt gets its share of the time that is left. A name that was resolved before goes
        on with what it had then if its name server does not answer, but not if that says that
        there is no such name.

        Args:
            until: when to give up, on `clock.now`.
            is_connected: whether an address has a connection already, so that its name need not be
                resolved again.
            wanted: says whether to go on waiting for a name server.
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
            if entry == host or not (
                host in asked or self._is_fresh(host) or is_connected(_address(entry))
            ):
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
        """Try this one after all others from now on."""
        with self._lock:
            self._failed[entry] = clock.now()
            if self._works == entry:
                self._works = None

    def works(self, address: Address) -> None:
        """Try this one first from now on, unless another one is known to work."""
        with self._lock:
            if self._works is None:
                self._works = address

    def used(self, address: Address) -> None:
        """Try this one after those that work as well from now on."""
        with self._lock:
            self._used[address] = clock.now()

    def entries(self) -> list[Address | Host]:
        """All of them in order; a host stands for itself as long as it has no address."""
        long_ago = clock.now() - _FORGOTTEN
        with self._lock:
            entries: list[Address | Host] = []
            for host in self._hosts:
                entries += self._found.get(host) or (host,)
            works, used = self._works, dict(self._used)
            failed = {entry: at for entry, at in self._failed.items() if at > long_ago}

        def rank(entry: Address | Host) -> tuple[bool, float, float]:
            return entry != works, failed.get(entry, -math.inf), used.get(entry, -math.inf)

        return sorted(entries, key=rank)

    def _is_fresh(self, host: Host) -> bool:
        return clock.now() - self._resolved.get(host, -math.inf) < _FRESH

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
    """A TCP connection to an address; raises OSError.

    Args:
        address: of the server.
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
    """The name that a certificate has to be good for, and that the server is asked for (SNI).

    Without the dot that ends a complete DNS name, because certificates have none there, and
    without the zone of an IPv6 address.
    """
    return host.removesuffix(".").partition("%")[0]


def is_unknown_host(error: BaseException) -> bool:
    """Whether a name server has said that there is no such name."""
    # EAI_AGAIN is a name server that does not answer, which time may mend.
    return isinstance(error, socket.gaierror) and error.errno in _UNKNOWN


def _host(entry: Address | Host) -> Host:
    return entry.host if isinstance(entry, Address) else entry


def _address(entry: Address | Host) -> Address:
    assert isinstance(entry, Address)
    return entry
