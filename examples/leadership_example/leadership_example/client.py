"""Requests to Redis: each within its budget, its outcome in the words of `leadership`."""

import os
import socket
import ssl
from importlib.resources import files
from typing import Any

import redis

from leadership_core import Entry, StoreURL, errors
from leadership_core.budget import remaining_budget

STEP = files(__package__).joinpath("step.lua").read_text()
ANSWERS = {"CONFLICT": errors.Conflict, "FENCED": errors.Fenced, "SESSION": errors.SessionLost}
REFUSALS = (redis.AuthenticationError, redis.exceptions.NoPermissionError, redis.ReadOnlyError)
MISTAKES = (socket.gaierror, ssl.SSLCertVerificationError)
TLS = {
    "ca": "ssl_ca_certs",
    "cert": "ssl_certfile",
    "key": "ssl_keyfile",
    "verify": "ssl_cert_reqs",
}


class TimedConnection(redis.Connection):
    """redis-py has one time limit for all requests; here each has what is left of its budget."""

    def connect(self) -> None:  # redis-py calls it before each request, connected or not
        self.socket_timeout = self.socket_connect_timeout = remaining_budget()
        self.update_current_socket_timeout(self.socket_timeout)
        super().connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        return super().read_response(*args, **options | {"timeout": remaining_budget()})


class TimedTLSConnection(TimedConnection, redis.SSLConnection):
    """The same with TLS."""


class Client:
    """Sends requests, each once; thread-safe."""

    def __init__(self, url: StoreURL) -> None:
        host, *more = url.with_default_port(6379).hosts
        if more:
            raise errors.URLError("redis:// has one host: a failover would not be safe")
        settings = {TLS[name]: value for name, value in url.read_options({}, tls=True).items()}
        settings |= {"host": host.name, "port": host.port, "protocol": 3, "driver_info": None}
        settings |= {"username": url.username, "password": url.password}
        kind = TimedTLSConnection if url.tls else TimedConnection
        self._redis = redis.Redis(connection_pool=redis.ConnectionPool(kind, **settings))
        self._process, self._closed, self._bell = os.getpid(), False, b"0"

    def look(self, *what: str) -> list[list[Entry]]:  # what is at a key, or below a ``key/``
        return [[_entry(*pair) for pair in pairs] for pairs in self.step("look", *what)]

    def step(self, *words: str | bytes | int) -> Any:
        return self.request("EVAL", STEP, 0, *words)  # all of it: the server may be a new one

    def hear(self, seconds: float) -> None:  # wait until step.lua rings the bell again
        self.request("XREAD", "BLOCK", int(seconds * 1e3), "STREAMS", "leadership:bell", self._bell)
        self._bell = self.step("bell")

    def request(self, *words: str | bytes | int) -> Any:
        if os.getpid() != self._process:
            raise errors.ForkedStore("the redis:// store belongs to the parent of this process")
        if self._closed:
            raise errors.StoreClosed("the redis:// store is closed")
        try:
            return self._redis.execute_command(*words)  # type: ignore[no-untyped-call]
        except (redis.RedisError, OSError) as error:
            refused = isinstance(error, REFUSALS) or isinstance(error.__context__, MISTAKES)
            usual = errors.StoreRefused if refused else errors.StoreUnavailable
            kind = ANSWERS.get(str(error), usual)  # what step.lua finds out, it names
            raise kind(f"Redis: {error}") from error
        finally:
            if self._closed:
                self.close()  # the connection that was just given back, too

    def close(self) -> None:
        self._closed = True
        self._redis.connection_pool.disconnect(inuse_connections=False)


def _entry(key: bytes, packed: bytes) -> Entry:
    revision, session, value = packed.split(b" ", 2)
    return Entry(key.decode(), value, int(revision), None if session == b"-" else session.decode())
