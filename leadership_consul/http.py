"""One thread's HTTP session with the agents: `requests` over our own sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url

from .credentials import TLS
from .wire import DeadlineTLSSocket, Line, dial

__all__ = ["Lane"]


class Lane:
    """A `requests` session, and the line that all its connections belong to."""

    def __init__(self, tls: TLS | None) -> None:
        self.line = Line()
        self.session = requests.Session()
        # No .netrc and no certificates from the environment. Proxies it has none.
        self.session.trust_env = False
        self._adapter = _Adapter(self.line, tls)
        self.session.mount("http://", self._adapter)
        self.session.mount("https://", self._adapter)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> requests.Response:
        """Send one request, and read its answer to the end."""
        request = requests.PreparedRequest()
        # Written down as it is: the url is quoted and the body encoded already, and preparing
        # them again, with cookies and hooks, takes as long as a fast agent takes to answer.
        request.method, request.url, request.body = method, url, body
        request.headers = CaseInsensitiveDict(headers)
        # An agent compresses even on loopback if it may, which costs more than it saves.
        request.headers.update({"Accept-Encoding": "identity", "User-Agent": "leadership"})
        if body is not None:
            request.headers["Content-Length"] = str(len(body))
        # Not through the session, which follows redirects. The sockets know the time limit.
        return self._adapter.send(request, stream=False, timeout=None)

    def close(self) -> None:
        """Close the connections; one that is in use ends with its request."""
        self.session.close()

    def __del__(self) -> None:
        # The thread that it belonged to has ended.
        self.session.close()


class _Adapter(HTTPAdapter):
    """Brings `requests` to use connections of a line, each with one agent."""

    def __init__(self, line: Line, tls: TLS | None) -> None:
        super().__init__()
        self._line = line
        self._tls = tls
        self._pools: dict[tuple[str | None, int | None, int], HTTPConnectionPool] = {}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *_: Any, **__: Any
    ) -> HTTPConnectionPool:
        url = parse_url(request.url or "")
        context = self._tls.context() if self._tls else None
        # New TLS files make a new context, and connections of the old one are not used again.
        place = (url.host, url.port, id(context))
        pool = self._pools.get(place)
        if pool is None:
            self.close_pools()
            self._pools[place] = pool = _pool(self._line, url.host or "", url.port, context)
        return pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Leave the TLS context alone: `requests` would add its own authorities to it."""

    def close_pools(self) -> None:
        # The store may be closing it while its thread ends and does so, too: each pool is closed
        # by the one who takes it, because urllib3's own close is not made for two at a time.
        for place in list(self._pools):
            pool = self._pools.pop(place, None)
            if pool is not None:
                pool.close()

    def close(self) -> None:
        self.close_pools()
        super().close()


def _pool(line: Line, host: str, port: int | None, context: Any) -> HTTPConnectionPool:
    pool: HTTPConnectionPool
    if context is None:
        pool = HTTPConnectionPool(host, port, maxsize=1, line=line)
        pool.ConnectionCls = _Connection
    else:
        pool = HTTPSConnectionPool(host, port, maxsize=1, ssl_context=context, line=line)
        pool.ConnectionCls = _TLSConnection
    return pool


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, line: Line, **options: Any) -> None:
        super().__init__(*args, **options)
        self._line = line

    def _new_conn(self) -> Any:
        return dial(self._line, self._dns_host, self.port or 80)


class _TLSConnection(HTTPSConnection):
    def __init__(self, *args: Any, line: Line, **options: Any) -> None:
        super().__init__(*args, **options)
        self._line = line

    def _new_conn(self) -> Any:
        return dial(self._line, self._dns_host, self.port or 443)

    def connect(self) -> None:
        super().connect()
        assert isinstance(self.sock, DeadlineTLSSocket)
        self.sock.line = self._line
        self._line.carry(self.sock)
        # The URL says so if the certificate is not to be checked; urllib3 would warn each time.
        self.is_verified = True
