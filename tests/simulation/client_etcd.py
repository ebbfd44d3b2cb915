"""Replacement for the gRPC client of the etcd backend."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from leadership_core.backend.deadline import call_timeout, remaining_timeout
from leadership_core.backend.url import StoreURL
from leadership_core.errors import NotApplied, SessionLost, StoreClosed, StoreUnavailable
from leadership_etcd.compat import grpc, pb
from leadership_etcd.rpc import Method, WatchResult
from leadership_etcd.store import EtcdStore

from .kernel import Task
from .model_etcd import EtcdServer
from .network import Link, Pipe
from .patching import CLIENTS
from .primitives import Threading

__all__ = ["open_etcd"]

_BROKEN_AFTER = 8.0  # seconds of silence after which gRPC ends a stream


class _Client:
    """See `leadership_etcd.client.Client`."""

    def __init__(self, server: EtcdServer, link: Link) -> None:
        self.revision = 0
        self._server, self._link = server, link
        self._streams: list[_Stream] = []

    def call(
        self,
        method: Method[Any],
        request: Any,
        *,
        traffic: object = None,
        repeatable: bool | None = None,
    ) -> Any:
        again = method.repeatable if repeatable is None else repeatable
        what = method.path.rpartition("/")[2]
        for left in range(2 if again else 1, 0, -1):
            try:
                with call_timeout(remaining_timeout() / left):
                    # The real client repeats what is repeatable, so the server may get it twice.
                    answer = self._link.call(
                        what, lambda: self._server.call(method, request), copies=again
                    )
            except (StoreClosed, SessionLost):
                raise
            except StoreUnavailable as error:
                if left == 1 or (not again and not isinstance(error, NotApplied)):
                    raise
            else:
                result = method.parse(answer)
                self.revision = max(self.revision, result.revision)
                return result
        raise AssertionError("unreachable")

    def watch(
        self, requests: Iterator[Any], on_message: Callable[[Any], object]
    ) -> tuple[object, Any]:
        """Open a stream, after one round trip that shows that the server is there."""
        self._link.call("open a stream", lambda: None)
        stream = _Stream(self._server, self._link, requests, on_message)
        self._streams.append(stream)
        return stream, stream

    def probe(self, connection: Any, seconds: float, on_result: Callable[[bool], None]) -> None:
        """Report after so many seconds whether the link is up."""
        network, link = self._link.network, self._link

        network.world.after(
            seconds, lambda: on_result(not (network.down or link.cut_answers or link.cut_requests))
        )

    def end_watch(self, connection: Any, *, broken: bool) -> None:
        self._streams.remove(connection)

    def forget_token(self) -> None:
        pass

    has_release_connection = False

    def preconnect_releases(self) -> None:
        pass

    def on_endpoint_change(self, moved: Callable[[], None]) -> None:
        pass

    def is_current(self, connection: object) -> bool:
        return True

    def close(self) -> None:
        self._link.close()
        for stream in self._streams:
            stream.cancel()

    def after_fork_in_child(self) -> None:
        raise NotImplementedError


class _Ended(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    def __init__(self, code: Any, details: str) -> None:
        super().__init__(details)
        self._code, self._details = code, details

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details


class _Stream:
    """A watch stream: ordered in both directions, delayed at times, broken after a long silence."""

    endpoint = "sim:2379"

    def __init__(
        self,
        server: EtcdServer,
        link: Link,
        requests: Iterator[Any],
        on_message: Callable[[Any], object],
    ) -> None:
        self._server, self._link, self._on_message = server, link, on_message
        self._world = link.network.world
        self._inbox: deque[Any] = deque()
        self._reader: Task | None = None
        self._error: Exception | None = None
        self._watches: dict[int, list[Any]] = {}  # by id: key, end, index of the next event
        self._numbers = 0
        self._to_server, self._to_client = (
            Pipe(link, self._is_cut, self._reset, limit=_BROKEN_AFTER, retry=0.5) for _ in range(2)
        )
        link.on_reset(self._reset)
        Threading.Thread(target=self._send, args=(requests,), name="grpc").start()

    # -- at the client -----------------------------------------------------------------------

    def _send(self, requests: Iterator[Any]) -> None:
        for request in requests:
            if self._error is not None:
                return
            self._to_server.send(partial(self._receive, request))

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        self._reader = self._world.current
        while not self._inbox:
            if self._error is not None:
                raise self._error
            self._world.park()
        result = WatchResult.parse(self._inbox.popleft())
        self._on_message(result)  # the real client does so in a thread of gRPC
        return result

    def cancel(self) -> None:
        """End it; from any thread."""
        self._end(_Ended(grpc.StatusCode.CANCELLED, "cancelled"))

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self._watches.clear()
            self._to_server.clear()
            self._to_client.clear()
            if self._reader is not None:
                self._world.wake(self._reader)

    def _is_cut(self) -> bool:
        return self._link.cut_answers or self._link.cut_requests

    def _reset(self) -> None:
        self._end(_Ended(grpc.StatusCode.UNAVAILABLE, "connection reset"))

    # -- at the server -----------------------------------------------------------------------

    def _receive(self, request: Any) -> None:
        if request.WhichOneof("request_union") == "cancel_request":
            number = request.cancel_request.watch_id
            if self._watches.pop(number, None) is not None:
                self._respond(pb.WatchResponse(watch_id=number, canceled=True))
            return
        asked = request.create_request
        self._numbers += 1
        number, events = self._numbers, self._server.events
        start = asked.start_revision or self._server.revision + 1
        header = pb.ResponseHeader(revision=self._server.revision)
        self._respond(pb.WatchResponse(header=header, watch_id=number, created=True))
        if start <= self._server.compacted:
            compacted = self._server.compacted + 1
            self._respond(
                pb.WatchResponse(
                    header=header, watch_id=number, canceled=True, compact_revision=compacted
                )
            )
            return
        following = next((n for n, one in enumerate(events) if one.revision >= start), len(events))
        self._watches[number] = [asked.key, asked.range_end, following]
        self._send_events(number)

    def _send_events(self, number: int) -> None:
        """Send the new events, and wait for more."""
        watch = self._watches.get(number)
        if watch is None or self._error is not None:
            return
        key, end, following = watch
        events = self._server.events
        found = [
            one for one in events[following:] if (key <= one.key < end if end else one.key == key)
        ]
        watch[2] = len(events)
        for revision in dict.fromkeys(one.revision for one in found):
            together = [one.message for one in found if one.revision == revision]
            header = pb.ResponseHeader(revision=revision)
            self._respond(pb.WatchResponse(header=header, watch_id=number, events=together))
        seen = len(events)
        self._server.wait(
            lambda: len(self._server.events) > seen or number not in self._watches,
            lambda: self._send_events(number),
            60.0,
        )

    def _respond(self, answer: Any) -> None:
        def arrived() -> None:
            self._inbox.append(answer)
            if self._reader is not None:
                self._world.wake(self._reader)

        self._to_client.send(arrived)


def open_etcd(server: EtcdServer, link: Link) -> EtcdStore:
    """A store of the shipped backend on that server."""
    CLIENTS.register(link.process, lambda _: _Client(server, link))
    return EtcdStore(StoreURL.parse("etcd://sim:2379"))
