"""One gRPC channel to one endpoint, and the checks of the endpoint before a request is sent."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from leadership_core.backend import Address, bare, clock, leak, one_line

from .compat import grpc
from .endpoint_checks import EndpointChecks
from .errors import (
    ConnectFailed,
    FailureKind,
    InvalidResponse,
    error_text,
    failure_kind,
    masked_error,
)
from .http2_probe import WRONG_SERVER, probe
from .response_checks import read_response, read_watch_response
from .rpc import MEMBERS, STATUS, WATCH, Method, WatchResult
from .tls import TLS, speaks_tls, target

__all__ = ["Connection", "ResponseStream"]

log: logging.Logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

_OPTIONS: list[tuple[str, Any]] = [
    # Without this, channels to one address share a connection, and wait for each other in it.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # A name server must not make gRPC send a write twice.
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2000),  # which is the time limit of a connect
    # Nothing but identity: etcd compresses only for clients that ask for it.
    ("grpc.compression_enabled_algorithms_bitset", 1),
]
# A stream is silent for hours, so pings distinguish a dead peer from a quiet one. etcd closes connections
# that send them more often than every 5 s, or with no call under way.
_PINGS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 5500),
    ("grpc.keepalive_timeout_ms", 2500),
    ("grpc.http2.ping_timeout_ms", 2500),  # otherwise 60 s, in spite of the line before
    ("grpc.http2.max_pings_without_data", 0),
]
_DIAGNOSIS_TIMEOUT = 1.0  # seconds
_OLDEST_VERSION = (3, 4)
_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


class Connection:
    """A channel to an endpoint; thread-safe.

    Args:
        address: of the endpoint.
        tls: None for plain text.
        streams: it is to carry streams.
        max_message_size: bytes that an answer may have.
        checks: of all endpoints of the store.
        masked: removes secrets from what a server says.

    Attributes:
        users: calls that are under way, counted by the pool.
        retired: the pool hands it out no more.
        unanswered_since: when the first call was sent that got no answer, with none since.
        channel: of gRPC; None until it is made, and once it was leaked.
    """

    def __init__(
        self,
        address: Address,
        tls: TLS | None,
        *,
        streams: bool,
        max_message_size: int,
        checks: EndpointChecks,
        masked: Callable[[str], str],
    ) -> None:
        self.address = address
        self.users = 0
        self.retired = False
        self.unanswered_since: float | None = None
        self.channel: Any = None
        self._tls = tls
        self._options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", max_message_size),
            *(_PINGS if streams else []),
        ]
        self._healthy = False
        self._checks, self._verified = checks, checks.verified
        self._masked = masked
        self._closed = False
        self._lock = threading.Lock()
        self._calls: dict[str, Any] = {}

    @property
    def endpoint(self) -> str:
        """Where it goes to, for messages."""
        return str(self.address)

    @property
    def is_healthy(self) -> bool:
        """Whether `check_health` has succeeded."""
        return self._healthy

    def check_health(self, until: float) -> None:
        """Connect and check, the first time, that an etcd answers that knows its cluster's leader.

        A request that is sent afterwards has left when it fails; what fails here has not. A
        member that is cut off from its cluster says so here, instead of delaying the request.

        Args:
            until: when to give up, on `clock.now`.

        Raises:
            ConnectFailed: there is none.
        """
        if self._healthy:
            return
        # One thread does, however many wait for this connection.
        self._checks.run(
            *(self, self.address), lambda: self._healthy, lambda: self._check(until), until
        )

    def _check(self, until: float) -> None:
        if self.address not in self._verified:
            self._probe_port(until)
        self._make_channel(until)
        try:
            status = self.invoke(STATUS, STATUS.request(), max(0.001, until - clock.now()))
        except InvalidResponse as error:
            raise ConnectFailed(
                f"the server there is not an etcd ({error}); check the port"
            ) from error
        except grpc.RpcError as error:
            rejected = failure_kind(error) is FailureKind.REJECTED
            if not rejected or error.code() is _UNIMPLEMENTED:
                self._verified.discard(self.address)
                raise self._connect_failed(error, until) from error
            # The user may not read the status, but an etcd has answered.
        else:
            if not status.leader:
                raise ConnectFailed("it knows no leader of its cluster")
            found = re.match(r"(\d{1,4})\.(\d{1,4})", status.version, re.ASCII)
            if found is not None and (int(found[1]), int(found[2])) < _OLDEST_VERSION:
                self._verified.discard(self.address)
                version = one_line(status.version, 30)
                raise ConnectFailed(
                    f"it is etcd {version}; etcd 3.4 or later is needed", lasting=True
                )
            self._refuse_grpc_proxy(until)
        self._healthy = True
        self._verified.add(self.address)

    def _refuse_grpc_proxy(self, until: float) -> None:
        """Raise `ConnectFailed` if the server is etcd's grpc-proxy.

        It renews leases by itself, at times of its own, and reports that to its clients later. So
        the time from which etcd counts is not known. It answers everything but the list of members
        as etcd does: its list has no header, and no ids.
        See https://etcd.io/docs/v3.5/op-guide/grpc_proxy/#scalable-lease-api
        """
        try:
            found = self.invoke(MEMBERS, MEMBERS.request(), max(0.001, until - clock.now()))
        except (InvalidResponse, grpc.RpcError) as error:
            log.debug("%s does not list its members: %s", self.endpoint, error)
            return  # the user may not read them
        if not found.header.cluster_id and not any(one.ID for one in found.members):
            self._verified.discard(self.address)
            raise ConnectFailed(
                "it is an etcd grpc-proxy, which renews leases by itself, so the time "
                "when they end is not known; put the addresses of the etcd servers into the URL",
                lasting=True,
            )

    def _probe_port(self, until: float) -> None:
        try:
            context = None if self._tls is None else self._tls.unverified()
        except (OSError, ValueError) as error:
            raise ConnectFailed(f"TLS cannot be set up: {error}") from error
        if problem := probe(self.address, context, until):
            diagnosis = self._tls_problem("", until) if clock.now() < until else None
            raise ConnectFailed(
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
            raise ConnectFailed(f"TLS cannot be set up: {error}") from bare(error)
        with self._lock:
            surplus = self._closed or self.channel is not None
            if self.channel is None:
                self.channel = made
        if surplus:
            made.close()

    def invoke(
        self,
        method: Method[ResultT],
        request: Any,
        timeout: float,
        metadata: tuple[Any, ...] = (),
    ) -> ResultT:
        """Make a call and check its answer; blocks for `timeout` seconds at most.

        Args:
            method: which.
            request: its message.
            timeout: seconds.
            metadata: of the call, such as the token.

        Raises:
            grpc.RpcError: the call failed.
            InvalidResponse: what came back is no answer to it.
            ValueError: the channel is closed.
        """
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
            if failure_kind(error) is FailureKind.UNKNOWN:
                self.unanswered_since = self.unanswered_since or sent
            else:
                self.unanswered_since = None
            problem = masked_error(error, self._masked)
        except ValueError as error:  # the channel is closed
            problem = bare(error)
        else:
            self.unanswered_since = None
            try:
                return read_response(method, request, data)
            except InvalidResponse as error:
                problem = bare(error)
        # A traceback with variables would show a password or a token.
        del request, metadata
        raise problem

    def watch(
        self,
        requests: Iterator[Any],
        metadata: tuple[Any, ...],
        on_message: Callable[[WatchResult], object],
    ) -> ResponseStream:
        """Open the stream that carries watches.

        Args:
            requests: what is sent.
            metadata: of the call, such as the token.
            on_message: called with each message before the stream returns it, in gRPC's own thread
                and with a lock of the call, so it must not wait.
        """

        def received(data: bytes) -> WatchResult | bytes:
            # gRPC calls this in a thread that it has started for the stream without a name.
            thread = threading.current_thread()
            if not thread.name.startswith("leadership-"):
                thread.name = "leadership-etcd-grpc"
            try:
                result = read_watch_response(data)
                on_message(result)
            except Exception:  # noqa: BLE001 - an invalid message is raised in the thread that reads the stream
                return data
            return result

        stream = self.channel.stream_stream(
            WATCH.path,
            request_serializer=WATCH.request.SerializeToString,
            response_deserializer=received,
        )
        return ResponseStream(stream(requests, metadata=metadata), self._masked)

    def close(self) -> None:
        """Cut off what is under way; may be called again."""
        with self._lock:
            self._closed = True
            channel = self.channel
        if channel is not None:
            channel.close()

    def leak(self) -> None:
        """Never close the channel: gRPC has counted a thread that it could not start.

        It would start none for this channel again, and `close`, or the end of the process, would
        wait forever for the work of that thread.
        """
        with self._lock:
            channel, self.channel = self.channel, None
            self._closed = True
        if channel is not None:
            leak(channel)

    def _connect_failed(self, error: grpc.RpcError, until: float) -> ConnectFailed:
        details = error_text(error)
        if error.code() is _UNIMPLEMENTED:
            return ConnectFailed(
                f"the server there is not etcd 3.4 or later ({details}); check the port",
                lasting=True,
            )
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ConnectFailed("no answer in time")
        if problem := self._tls_problem(details, until):
            return ConnectFailed(problem, lasting=True)
        if "Connection refused" in details:
            return ConnectFailed("connection refused; is an etcd running there?")
        return ConnectFailed(details)

    def _tls_problem(self, details: str, until: float) -> str | None:
        """What is wrong with TLS, if that is the cause: gRPC does not report it."""
        if "onnection refused" in details:
            return None
        until = min(until, clock.now() + _DIAGNOSIS_TIMEOUT)
        if self._tls is not None:
            return self._tls.trouble(self.address, until)
        if speaks_tls(self.address, until):
            return "the server requires TLS: write etcd+tls:// in the URL"
        return None


class ResponseStream:
    """The messages of a stream of watches, checked.

    Args:
        call: of gRPC.
        masked: removes secrets from what a server says.
    """

    def __init__(self, call: Any, masked: Callable[[str], str]) -> None:
        self._call, self._masked = call, masked

    def __iter__(self) -> Iterator[WatchResult]:
        """Wait for the messages, one after the other.

        Raises:
            grpc.RpcError: the stream has ended.
            InvalidResponse: a message is not one of etcd's.
        """
        try:
            for message in self._call:
                result = message
                if not isinstance(message, WatchResult):
                    result = read_watch_response(message)
                if result.cancel_reason:
                    result = replace(result, cancel_reason=self._masked(result.cancel_reason))
                yield result
        except grpc.RpcError as error:
            problem = masked_error(error, self._masked)
        else:
            return
        raise problem

    def cancel(self) -> None:
        """End the stream; from any thread."""
        self._call.cancel()
