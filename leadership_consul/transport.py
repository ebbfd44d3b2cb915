"""The HTTP layer that py-consul speaks through: deadlines, failover, and nothing from outside.

py-consul asks its `http_connect` for an object that gets, puts and deletes. Ours gives each
request one total time, from the budget of the call, and knows several agents, by several hosts or
by several addresses of a host: one that cannot be connected to is passed over within the same
request, because nothing was sent to it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import Any
from urllib.parse import quote, urlencode

from consul import base

from leadership_core import clock
from leadership_core.addresses import Address, Addresses, Attempt
from leadership_core.budget import remaining_budget
from leadership_core.errors import StoreClosed
from leadership_core.failures import ConnectFailure
from leadership_core.tls import ClientTLS, is_hang_up, is_refused_by_server
from leadership_core.url import Host

from .credentials import Token
from .errors import broken, has_no_leader, is_answer, strange, unreached
from .lane import Answer, Lane
from .wire import LONGEST, LONGEST_LIST, Line

__all__ = ["Transport"]

_CONNECT = 5.0  # seconds, at most, of a request's time for all its connects; a poll has more time

_MOST_FREE = 4  # connections that stay open although no request uses them

_INDEX = "X-Consul-Index"

Callback = Callable[[Any], Any]


class Transport(base.HTTPClient):  # type: ignore[misc]  # py-consul has no types
    """Requests to whichever agent answers; safe for several threads, which share its lanes.

    A request takes a lane that no other uses, or opens one: it never waits for another request. An
    agent counts connections, 200 for each address, so those that are free again are used again.
    """

    def __init__(self, hosts: Sequence[Host], token: Token, tls: ClientTLS | None) -> None:
        super().__init__(scheme="https" if tls else "http")
        self._addresses = Addresses(hosts, thread="leadership-consul-resolve")
        self._token = token
        self._tls = tls
        self._local = threading.local()
        self._lanes: weakref.WeakSet[Lane] = weakref.WeakSet()
        self._lock = threading.RLock()  # a signal handler may make a request, too
        self._free: list[Lane] = []
        self._closed = False

    def get(self, callback: Callback, path: str, params: Any = None, **options: Any) -> Any:
        is_long = any(name == "recurse" for name, _ in params or ())
        return callback(
            self._request("GET", path, params, None, options.get("headers"), is_long=is_long)
        )

    def put(
        self, callback: Callback, path: str, params: Any = None, data: Any = "", **options: Any
    ) -> Any:
        is_long = bool(options.get("long"))
        return callback(
            self._request("PUT", path, params, data, options.get("headers"), is_long=is_long)
        )

    def delete(
        self, callback: Callback, path: str, params: Any = None, data: Any = "", **options: Any
    ) -> Any:
        return callback(self._request("DELETE", path, params, data, options.get("headers")))

    def post(
        self, callback: Callback, path: str, params: Any = None, data: Any = "", **options: Any
    ) -> Any:
        return callback(self._request("POST", path, params, data, options.get("headers")))

    def lane(self) -> Lane:
        """A lane for the calling thread alone, which others can cut.

        Raises:
            StoreClosed: no more requests are made.
        """
        lane: Lane | None = getattr(self._local, "lane", None)
        if lane is None:
            with self._lock:
                self._local.lane = lane = self._new_lane()
        return lane

    def _new_lane(self) -> Lane:
        if self._closed:
            raise StoreClosed("the Consul store is closed")
        lane = Lane(self._tls, self._token)
        self._lanes.add(lane)
        return lane

    def _take_lane(self) -> Lane:
        with self._lock:
            # The one that was used last: its connection is the least likely to have been closed.
            return self._free.pop() if self._free else self._new_lane()

    def _give_back(self, lane: Lane) -> None:
        with self._lock:
            if not self._closed and len(self._free) < _MOST_FREE:
                self._free.append(lane)
                return
        lane.close()

    def close(self) -> None:
        """Cut every request that is under way, and let no other begin."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes)
            self._free.clear()
        for lane in lanes:
            lane.line.cut()
            lane.close()

    def _request(
        self,
        method: str,
        path: str,
        params: Any,
        data: Any,
        headers: Mapping[str, str] | None,
        *,
        is_long: bool = False,
    ) -> Any:
        own: Lane | None = getattr(self._local, "lane", None)
        lane = self._take_lane() if own is None else own
        try:
            return self._request_on(lane, method, path, params, data, headers, is_long=is_long)
        finally:
            if own is None:
                self._give_back(lane)

    def _request_on(
        self,
        lane: Lane,
        method: str,
        path: str,
        params: Any,
        data: Any,
        headers: Mapping[str, str] | None,
        *,
        is_long: bool,
    ) -> Any:
        line = lane.line
        longest = LONGEST_LIST if is_long else LONGEST
        given = remaining_budget()
        line.until = clock.now() + given
        connect_until = clock.now() + min(given, _CONNECT)
        target = quote(path, safe="/") + (f"?{urlencode(params)}" if params else "")
        sent = data.encode() if isinstance(data, str) else data
        failed: list[ConnectFailure] = []
        answer: Answer | None = None
        answered = ""
        for attempt in self._addresses.attempts(
            connect_until, is_connected=lane.is_connected, wanted=lambda: not line.is_cut
        ):
            address = attempt.address
            if address is None:
                failed.append(self._failure(attempt, attempt.error or OSError()))
                continue
            line.sent, line.received, line.longest = False, 0, longest
            line.connect_until = attempt.until
            try:
                answer = lane.send(address, method, target, headers or {}, sent)
            except (OSError, HTTPException) as error:
                if line.is_cut:
                    raise StoreClosed("the request was cut off: it is no longer wanted") from error
                self._addresses.failed(address)
                failure = self._failure(attempt, self._told_why(error, address, line))
                if line.sent and not is_refused_by_server(failure.error):
                    raise broken(failure, given) from failure.error
                failed.append(failure)
                continue
            answered = self._place(address)
            if answer.status < 500 or is_answer(answer.body):
                self._addresses.works(address)
                break
            # An agent that has lost its servers says so with a 500; another may still have them.
            self._addresses.failed(address)
            if not (method == "GET" or has_no_leader(answer.body)) or clock.now() >= line.until:
                break
        if answer is None:
            raise unreached(failed) from (failed[-1].error if failed else None)
        if answer.status != 200 and not 400 <= answer.status < 600:
            raise strange(answered, answer.status)  # a redirect, for one
        return base.Response(answer.status, self._told(answer.headers), answer.body)

    def _told_why(self, error: Exception, address: Address, line: Line) -> Exception:
        first = line.sent and line.fresh and not line.received
        if self._tls is None or not first or not is_hang_up(error):
            return error
        return self._tls.why_hung_up(address, line.until) or error

    def _told(self, headers: HTTPMessage) -> dict[str, str]:
        # py-consul looks at no other, and repeats what it gets in its errors.
        index = headers.get(_INDEX)
        return {} if index is None else {_INDEX: self._token.masked(index)}

    def _place(self, where: Address | Host) -> str:
        return f"{self.scheme}://{where}"

    def _failure(self, attempt: Attempt, error: Exception) -> ConnectFailure:
        return ConnectFailure(
            self._place(attempt.address or attempt.host),
            error,
            attempt.host,
            has_certificate=self._tls is not None and self._tls.cert is not None,
        )
