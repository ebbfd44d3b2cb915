"""One gRPC channel to one endpoint, and what makes sure of it before anything is sent."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from leadership_core import clock
from leadership_core.addresses import Address
from leadership_core.fork import leak
from leadership_core.text import one_line
from leadership_core.tracebacks import bare

from .answers import read_answer, read_watch
from .credentials import TLS, speaks_tls, target
from .errors import Senseless, Unreached, Verdict, harmless, said, verdict
from .methods import MEMBERS, STATUS, WATCH, Method
from .preface import WRONG_SERVER, objection
from .proto import grpc

__all__ = ["Connection"]

log = logging.getLogger(__name__)

_OPTIONS: list[tuple[str, Any]] = [
    # Without this, channels to one address share a connection, and wait for each other in it.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # What a name server says is no reason to send a write twice.
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2000),  # which is the time that a connect may take
    # Nothing but identity: etcd compresses only for who asks for it.
    ("grpc.compression_enabled_algorithms_bitset", 1),
]
# A stream is silent for hours, so pings tell a dead peer from a quiet one. etcd hangs up on who
# sends them more often than every 5 s, or with no call under way.
_PINGS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 5500),
    ("grpc.keepalive_timeout_ms", 2500),
    ("grpc.http2.ping_timeout_ms", 2500),  # 60 s else, in spite of the line before
    ("grpc.http2.max_pings_without_data", 0),
]
_DIAGNOSIS = 1.0  # seconds
_OLDEST = (3, 4)  # version of a server


class Connection:
    """A channel to an endpoint; safe for several threads.

    Args:
        address: of the endpoint.
        tls: None for plain text.
        streams: it is to carry streams.
        longest: bytes that an answer may have.
        known: the addresses where an etcd has answered to whoever came last.
        masked: takes secrets from what a server says.

    Attributes:
        users: calls that are under way, counted by its owner.
        retired: its owner gives it to nobody any more.
        silent_since: when the first call was sent that got no answer, with none since.
    """

    def __init__(
        self,
        address: Address,
        tls: TLS | None,
        *,
        streams: bool,
        longest: int,
        known: set[Address],
        masked: Callable[[str], str],
    ) -> None:
        self.address = address
        self.users = 0
        self.retired = False
        self.silent_since: float | None = None
        self.channel: Any = None
        self._tls = tls
        self._options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", longest),
            *(_PINGS if streams else []),
        ]
        self._greeted = False
        self._known = known
        self._masked = masked
        self._closed = False
        self._lock = threading.Lock()
        self._calls: dict[str, Any] = {}

    @property
    def endpoint(self) -> str:
        """Where it goes to, for messages."""
        return str(self.address)

    def greet(self, until: float) -> None:
        """Make sure, the first time, that an etcd answers there that knows its cluster's leader.

        A request that is sent next has left when it fails, and what fails before has not. A
        member that is cut off from its cluster says so here, instead of letting others wait.

        Raises:
            Unreached: there is none.
        """
        if self._greeted:
            return
        if self.address not in self._known:
            self._look(until)
        self._make_channel(until)
        try:
            status = self.invoke(STATUS, STATUS.request(), max(0.001, until - clock.now()))
        except Senseless as error:
            raise Unreached(f"what answers is not etcd ({error}); check the port") from error
        except grpc.RpcError as error:
            if verdict(error) is Verdict.REFUSED and error.code() is not _UNIMPLEMENTED:
                self._greet()  # it may not tell us, but it is there
                return
            self._known.discard(self.address)
            raise self._unreached(error, until) from error
        if not status.leader:
            raise Unreached("it knows no leader of its cluster")
        self._refuse_old_version(status.version)
        self._refuse_grpc_proxy(until)
        self._greet()

    def _refuse_old_version(self, version: str) -> None:
        """Raise `Unreached` if the server is older than what is supported; if it says so."""
        found = re.match(r"(\d{1,4})\.(\d{1,4})", version, re.ASCII)
        if found is not None and (int(found[1]), int(found[2])) < _OLDEST:
            self._known.discard(self.address)
            raise Unreached(
                f"it is etcd {one_line(version, 30)}; etcd 3.4 or later is needed", lasting=True
            )

    def _refuse_grpc_proxy(self, until: float) -> None:
        """Raise `Unreached` if it is one, which answers all but the list of members as etcd does.

        It renews leases by itself, at times of its own, and tells its clients later. So the time
        from which etcd counts is not known. Its list of members has no header, and no ids.
        """
        try:
            found = self.invoke(MEMBERS, MEMBERS.request(), max(0.001, until - clock.now()))
        except (Senseless, grpc.RpcError) as error:
            log.debug("%s does not list its members: %s", self.endpoint, error)
            return  # it may not tell us
        if not found.header.cluster_id and not any(one.ID for one in found.members):
            self._known.discard(self.address)
            raise Unreached(
                "it is an etcd grpc-proxy, which renews leases by itself, so the time "
                "when they end is not known; put the addresses of the etcd servers into the URL",
                lasting=True,
            )

    def _greet(self) -> None:
        self._greeted = True
        self._known.add(self.address)

    def _look(self, until: float) -> None:
        try:
            context = None if self._tls is None else self._tls.unverified()
        except (OSError, ValueError) as error:
            raise Unreached(f"TLS cannot begin: {error}") from error
        if problem := objection(self.address, context, until):
            diagnosis = self._diagnosis("", until) if clock.now() < until else None
            raise Unreached(
                diagnosis or problem, lasting=diagnosis is not None or problem is WRONG_SERVER
            )

    def _make_channel(self, until: float) -> None:
        if self.channel is not None:
            return
        try:
            made = (
                grpc.insecure_channel(target(self.address), self._options)
                if self._tls is None
                else self._tls.channel(self.address, self._options, until)
            )
        except (OSError, ValueError) as error:
            raise Unreached(f"TLS cannot begin: {error}") from bare(error)
        with self._lock:
            surplus = self._closed or self.channel is not None
            if self.channel is None:
                self.channel = made
        if surplus:
            made.close()

    def invoke(
        self, method: Method, request: Any, timeout: float, metadata: tuple[Any, ...] = ()
    ) -> Any:
        """Make a call; raises `grpc.RpcError`, and `Senseless` for what is no answer to it."""
        call = self._calls.get(method.path)
        if call is None:
            call = self._calls[method.path] = self.channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
            )
        problem: Exception
        sent = clock.now()
        try:
            data = call(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            if verdict(error) is Verdict.UNKNOWN:
                self.silent_since = self.silent_since or sent
            else:
                self.silent_since = None
            problem = harmless(error, self._masked)
        except ValueError as error:  # the channel is closed
            problem = bare(error)
        else:
            self.silent_since = None
            try:
                return read_answer(method, request, data)
            except Senseless as error:
                problem = bare(error)
        # A traceback with variables would show a password or a token.
        del request, metadata
        raise problem

    def watch(self, requests: Any, metadata: tuple[Any, ...]) -> Answers:
        """Open the stream that carries watches."""
        stream = self.channel.stream_stream(
            WATCH.path,
            request_serializer=WATCH.request.SerializeToString,
            response_deserializer=_named,
        )
        return Answers(stream(requests, metadata=metadata), self._masked)

    def close(self) -> None:
        """Cut off what is under way; may be called again."""
        with self._lock:
            self._closed = True
            channel = self.channel
        if channel is not None:
            channel.close()

    def leak(self) -> None:
        """Never close it: gRPC could not start a thread that it had counted.

        It would start none for this channel again, and whoever closed the channel would wait for
        that thread's work for ever, as would the end of the process.
        """
        with self._lock:
            channel, self.channel = self.channel, None
            self._closed = True
        if channel is not None:
            leak(channel)

    def _unreached(self, error: grpc.RpcError, until: float) -> Unreached:
        details = said(error)
        if error.code() is _UNIMPLEMENTED:
            return Unreached(
                f"what answers is not etcd 3.4 or later ({details}); check the port", lasting=True
            )
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unreached("no answer in time")
        if problem := self._diagnosis(details, until):
            return Unreached(problem, lasting=True)
        if "Connection refused" in details:
            return Unreached("connection refused; is an etcd running there?")
        return Unreached(details)

    def _diagnosis(self, details: str, until: float) -> str | None:
        """What is wrong with TLS, if that is it: gRPC does not tell."""
        if "onnection refused" in details:
            return None
        until = min(until, clock.now() + _DIAGNOSIS)
        if self._tls is not None:
            return self._tls.trouble(self.address, until)
        return "it wants TLS: write etcd+tls://" if speaks_tls(self.address, until) else None


class Answers:
    """What comes on a stream of watches; raises `Senseless` for what is none of etcd's answers.

    Args:
        call: of gRPC.
        masked: takes secrets from what a server says.
    """

    def __init__(self, call: Any, masked: Callable[[str], str]) -> None:
        self._call, self._masked = call, masked

    def __iter__(self) -> Iterator[Any]:
        try:
            for data in self._call:
                answer = read_watch(data)
                if answer.cancel_reason:
                    answer.cancel_reason = self._masked(answer.cancel_reason)
                yield answer
        except grpc.RpcError as error:
            problem = harmless(error, self._masked)
        else:
            return
        raise problem

    def cancel(self) -> None:
        """End the stream; from any thread."""
        self._call.cancel()


_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def _named(data: bytes) -> bytes:
    # gRPC calls this in a thread of its own, that it started for the stream and gave no name.
    thread = threading.current_thread()
    if not thread.name.startswith("leadership-"):
        thread.name = "leadership-etcd-grpc"
    return data
