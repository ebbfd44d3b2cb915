"""Stands in for the client of the etcd backend, which speaks gRPC."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from leadership_core.budget import budget, remaining_budget
from leadership_core.errors import NotDone, SessionLost, StoreClosed, StoreUnavailable
from leadership_core.url import StoreURL
from leadership_etcd.methods import Method
from leadership_etcd.proto import grpc, rpc
from leadership_etcd.store import EtcdStore

from .clients import CLIENTS
from .kernel import Task
from .model_etcd import EtcdServer
from .network import Link
from .primitives import Threading

__all__ = ["open_etcd"]

_DEAD = 8.0  # seconds without a sign of life after which gRPC ends a stream


class _Client:
    """See `leadership_etcd.client.Client`."""

    def __init__(self, server: EtcdServer, link: Link) -> None:
        self.revision = 0
        self._server, self._link = server, link
        self._streams: list[_Stream] = []

    def call(
        self, method: Method, request: Any, *, lane: object = None, repeatable: bool | None = None
    ) -> Any:
        again = method.repeatable if repeatable is None else repeatable
        what = method.path.rpartition("/")[2]
        for left in range(2 if again else 1, 0, -1):
            try:
                with budget(remaining_budget() / left):
                    # What may be repeated may come twice: the real client sends it again.
                    answer = self._link.call(
                        what, lambda: self._server.call(method, request), copies=again
                    )
            except (StoreClosed, SessionLost):
                raise
            except StoreUnavailable as error:
                if left == 1 or (not again and not isinstance(error, NotDone)):
                    raise
            else:
                header = getattr(answer, "header", None)
                if header is not None and header.revision > self.revision:
                    self.revision = header.revision
                return answer
        raise AssertionError("unreachable")

    def watch(self, requests: Iterator[Any]) -> tuple[object, Any]:
        """Open a stream; the first message of the other side makes sure that it is there."""
        self._link.call("open a stream", lambda: None)
        stream = _Stream(self._server, self._link, requests)
        self._streams.append(stream)
        return stream, stream

    def feel(self, connection: Any, seconds: float, felt: Callable[[bool], None]) -> None:
        """A link that is cut by then has not answered."""
        network, link = self._link.network, self._link

        def look() -> None:
            felt(not (network.down or link.cut_answers or link.cut_requests))

        network.world.after(seconds, look)

    def end_watch(self, connection: Any, *, broken: bool) -> None:
        self._streams.remove(connection)

    def forget_token(self) -> None:
        pass

    def warm(self, lane: object) -> None:
        pass

    def on_move(self, moved: Callable[[], None]) -> None:
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


class _Pipe:
    """What is on its way in one direction."""

    def __init__(self) -> None:
        self.until = 0.0  # when the last message arrives
        self.waiting: deque[Callable[[], None]] = deque()


class _Stream:
    """A stream both ways: in order, late at times, and broken when it is silent for too long."""

    endpoint = "sim:2379"

    def __init__(self, server: EtcdServer, link: Link, requests: Iterator[Any]) -> None:
        self._server, self._link = server, link
        self._world = link.network.world
        self._inbox: deque[Any] = deque()
        self._reader: Task | None = None
        self._error: Exception | None = None
        self._watches: dict[int, list[Any]] = {}  # by id: key, end, index of the next event
        self._numbers = 0
        self._sent, self._told = _Pipe(), _Pipe()
        self._silent_since: float | None = None
        link.on_reset(self._reset)
        Threading.Thread(target=self._send, args=(requests,), name="grpc").start()

    # -- at the client -----------------------------------------------------------------------

    def _send(self, requests: Iterator[Any]) -> None:
        for request in requests:
            if self._error is not None:
                return
            self._deliver(self._sent, partial(self._take, request))

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        self._reader = self._world.current
        while not self._inbox:
            if self._error is not None:
                raise self._error
            self._world.park()
        return self._inbox.popleft()

    def cancel(self) -> None:
        """End it; from any thread."""
        self._end(_Ended(grpc.StatusCode.CANCELLED, "cancelled"))

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self._watches.clear()
            if self._reader is not None:
                self._world.wake(self._reader)

    def _reset(self) -> None:
        self._end(_Ended(grpc.StatusCode.UNAVAILABLE, "connection reset"))

    # -- on the way --------------------------------------------------------------------------

    def _deliver(self, pipe: _Pipe, what: Callable[[], None]) -> None:
        """Messages of one way come in their order."""
        pipe.until = max(pipe.until, self._world.now) + self._link.network.delay(self._link)
        pipe.waiting.append(what)
        self._world.at(pipe.until, lambda: self._arrive(pipe))

    def _arrive(self, pipe: _Pipe) -> None:
        if self._error is not None or not pipe.waiting:
            return
        link, network = self._link, self._link.network
        if network.down or link.cut_answers or link.cut_requests:
            # TCP sends it again until it gives up.
            if self._silent_since is None:
                self._silent_since = self._world.now
            if self._world.now - self._silent_since > _DEAD:
                self._reset()
            else:
                self._world.after(0.5, lambda: self._arrive(pipe))
            return
        self._silent_since = None
        pipe.waiting.popleft()()

    # -- at the server -----------------------------------------------------------------------

    def _take(self, request: Any) -> None:
        if request.WhichOneof("request_union") == "cancel_request":
            number = request.cancel_request.watch_id
            if self._watches.pop(number, None) is not None:
                self._tell(rpc.WatchResponse(watch_id=number, canceled=True))
            return
        asked = request.create_request
        self._numbers += 1
        number, events = self._numbers, self._server.events
        start = asked.start_revision or self._server.revision + 1
        header = rpc.ResponseHeader(revision=self._server.revision)
        self._tell(rpc.WatchResponse(header=header, watch_id=number, created=True))
        if start <= self._server.compacted:
            compacted = self._server.compacted + 1
            self._tell(
                rpc.WatchResponse(
                    header=header, watch_id=number, canceled=True, compact_revision=compacted
                )
            )
            return
        following = next((n for n, one in enumerate(events) if one.revision >= start), len(events))
        self._watches[number] = [asked.key, asked.range_end, following]
        self._look(number)

    def _look(self, number: int) -> None:
        """Tell what has happened, and wait for more."""
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
            header = rpc.ResponseHeader(revision=revision)
            self._tell(rpc.WatchResponse(header=header, watch_id=number, events=together))
        seen = len(events)
        self._server.wait(
            lambda: len(self._server.events) > seen or number not in self._watches,
            lambda: self._look(number),
            60.0,
        )

    def _tell(self, answer: Any) -> None:
        def arrived() -> None:
            self._inbox.append(answer)
            if self._reader is not None:
                self._world.wake(self._reader)

        self._deliver(self._told, arrived)


def open_etcd(server: EtcdServer, link: Link) -> EtcdStore:
    """A store of the shipped backend, whose client is at that server."""
    with CLIENTS.made_by(lambda _: _Client(server, link)):
        return EtcdStore(StoreURL.parse("etcd://sim:2379"))
