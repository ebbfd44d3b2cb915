"""Passwords, tokens and keys: none is shown in messages, logs, tracebacks or reprs."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from leadership_core import Candidate, open_store
from leadership_core.backend.deadline import call_timeout
from leadership_core.backend.secret import Secret
from leadership_core.backend.url import StoreURL
from leadership_core.engine.store_base import internals
from leadership_core.errors import LeadershipError, StoreRefused, URLError
from tests.support.servers.ports import free_port
from tests.support.servers.tls_trouble import wrong_server

SECRET = "p@ss/w%rd-Ünïque-42"
TOKEN = "t0ken-unique-4242/+x="


def _forms(value: str) -> list[str]:
    return [
        value,
        quote(value, safe=""),
        quote(value, safe="").lower(),
        json.dumps(value)[1:-1],
        base64.b64encode(value.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
        ascii(value)[1:-1],
        ascii(value.encode())[2:-1],
    ]


def _shown(error: BaseException) -> str:
    """The text that a program may show of an error, with the library's local variables."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    found, left = [], [whole]
    while left:
        one = left.pop()
        # The frames of this test have the secrets, of course.
        one.stack = traceback.StackSummary.from_list(
            [frame for frame in one.stack if "/tests/" not in frame.filename]
        )
        found += list(one.format(chain=False))
        for frame in one.stack:
            found += [
                f"{frame.name}: {name}={value}" for name, value in (frame.locals or {}).items()
            ]
        left += [other for other in (one.__cause__, one.__context__) if other is not None]
    seen: BaseException | None = error
    while seen is not None:
        found += [str(seen), repr(seen), repr(vars(seen)), *map(str, seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(found)


def _no_secret_in(text: str) -> None:
    for form in (*_forms(SECRET), *_forms(TOKEN)):
        assert form not in text, f"{form!r} in {text[max(0, text.index(form) - 300) :][:700]}"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no log record, at any level, contains a secret."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        _no_secret_in(f"{record.getMessage()} {record.__dict__!r} {record.exc_text}")
        if record.exc_info and record.exc_info[1]:
            _no_secret_in(_shown(record.exc_info[1]))


def _urls(port: int) -> dict[str, str]:
    word, token = quote(SECRET, safe=""), quote(TOKEN, safe="")
    return {
        "consul": f"consul://:{token}@127.0.0.1:{port}",
        "etcd": f"etcd://ann:{word}@127.0.0.1:{port}",
        "zk": f"zk://ann:{word}@127.0.0.1:{port}",
    }


def _use(url: str) -> list[LeadershipError]:
    """Make all kinds of calls; returns the errors."""
    raised: list[LeadershipError] = []
    with open_store(url) as store:
        _no_secret_in(repr(store) + store.url + repr(vars(internals(store).backend)))
        session: list[Any] = []
        calls: list[Callable[[], object]] = [
            lambda: store.get("k"),
            lambda: store.put("k", b"1"),
            lambda: store.list("k"),
            lambda: store.delete("k"),
            lambda: session.append(store.open_session(10)),
            lambda: store.leader("k"),
            lambda: Candidate(store, "k", "me", ttl=10).wait_elected(0.3),
        ]
        for call in calls:
            try:
                with call_timeout(0.7):
                    call()
            except LeadershipError as error:
                raised.append(error)
    return raised


class _Parrot(BaseHTTPRequestHandler):
    """A web server whose errors repeat the request in every form."""

    status = 500

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        said = f"{self.headers} {self.rfile.read(length)!r} {' '.join(_forms(TOKEN))}"
        body = said.encode("utf-8", "replace")
        self.send_response(self.status, TOKEN)
        self.send_header("X-Consul-Index", TOKEN)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the names that the library has

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def grpc_parrot() -> Iterator[int]:
    """The port of an etcd that refuses the password, and repeats it in every form."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    from leadership_etcd.rpc import AUTHENTICATE, STATUS

    class Etcd(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, details: Any) -> Any:
            def answer(request: bytes, context: Any) -> bytes:
                if details.method == STATUS.path:
                    return bytes(STATUS.response(leader=1).SerializeToString())
                who = (
                    "etcdserver: authentication failed"
                    if details.method == AUTHENTICATE.path
                    else ""
                )
                known = ascii(request) + repr(context.invocation_metadata())
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"{who} {known} {' '.join(_forms(SECRET))}"
                )
                raise AssertionError

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Etcd()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait(5)


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("status", [200, 301, 400, 403, 404, 409, 413, 429, 500, 503])
def test_token_is_masked_in_responses_of_consul(status: int) -> None:
    """It is in the body, the headers and the reason."""
    handler = type("Parrot", (_Parrot,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        raised = _use(_urls(server.server_port)["consul"])
        server.shutdown()
        thread.join()
    assert len(raised) >= 3  # a 404 says that there is no such key
    for error in raised:
        _no_secret_in(_shown(error))


@pytest.mark.usefixtures("logged")
def test_password_is_masked_in_responses_of_etcd(grpc_parrot: int) -> None:
    """It is in the details of the errors, which gRPC's own error shows."""
    raised = _use(_urls(grpc_parrot)["etcd"])
    assert len(raised) >= 5
    assert any(isinstance(error, StoreRefused) for error in raised)
    for error in raised:
        _no_secret_in(_shown(error))


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("scheme", ["consul", "etcd", "zk"])
@pytest.mark.parametrize("how", ["refuses", "hangs up", "is silent", "garbage", "mid-answer"])
def test_secrets_are_masked_after_broken_connection(scheme: str, how: str) -> None:
    """The frames of the client libraries contain the request that was sent."""
    with ExitStack() as stack:
        port = free_port()
        if how != "refuses":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=64))

            def serve() -> None:
                while True:
                    try:
                        link, _ = listener.accept()
                    except OSError:
                        return
                    stack.enter_context(link)
                    if how == "garbage":
                        link.sendall(f"{TOKEN} {SECRET}\r\n\r\n".encode() * 20)
                    if how == "mid-answer":
                        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[")
                    if how != "is silent":
                        link.close()

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
        raised = _use(_urls(port)[scheme])
    assert len(raised) >= 5
    for error in raised:
        _no_secret_in(_shown(error))


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("scheme", ["consul", "etcd", "zk"])
def test_secrets_are_masked_after_failed_tls(scheme: str, tmp_path: Path) -> None:
    """The certificate is not trusted."""
    with wrong_server("expired", tmp_path) as server:
        url = _urls(server.port)[scheme].replace("://", "+tls://") + f"?ca={server.ca}"
        raised = _use(url)
    assert len(raised) >= 5
    for error in raised:
        _no_secret_in(_shown(error))


@pytest.mark.parametrize(
    "url",
    [
        "consul://:{}@h/%ff",
        "consul://:{}@h?dc=",
        "consul://:{}@h?token={}",
        "consul://h?token={}&lock_delay=never",
        "consul://h?token={}&token={}",
        "consul://h?token={}&no_such=1",
        "consul+tls://h?token={}&ca=/no/such/file",
        "consul://:{}%0a@h",
        "etcd://ann:{}@h:99999",
        "etcd://:{}@h",
        "etcd://ann:{}@h?password_file=/no/such/file",
        "etcd+tls://ann:{}@h?cert=/no/such/file",
        "zk://:{}@h",
        "zk://a%3Ab:{}@h",
        "zk://ann:{}@h?tick=0",
        "sqlite://ann:{}@h/x",
        "nosuch://ann:{}@h",
        "etcd://ann:{}@h@",
        "etcd://ann:{}#@h",
    ],
)
def test_secrets_are_masked_in_errors_of_urls(url: str) -> None:
    """The frames of the URL parser do not show it either."""
    with pytest.raises(LeadershipError) as caught:
        open_store(url.replace("{}", quote(SECRET, safe="")))
    _no_secret_in(_shown(caught.value))


def test_secret_option_is_masked() -> None:
    """It is a keyword argument beside a wrong one."""
    with pytest.raises(URLError) as caught:
        open_store("consul://h", token=TOKEN, lock_delay="never")
    _no_secret_in(_shown(caught.value))
    url = StoreURL.parse(f"consul://:{quote(TOKEN, safe='')}@h?token={quote(TOKEN, safe='')}")
    _no_secret_in(f"{url} {url!r} {url.options!r} {url.password!r}")
    assert url.password == TOKEN


@pytest.mark.parametrize("value", [SECRET, TOKEN, "ab", "a b\nc", 'q"uo\\te'])
def test_every_form_of_secret_is_masked(value: str) -> None:
    """Other text is not changed."""
    secret = Secret(value)
    for form in (
        value,
        quote(value, safe=""),
        json.dumps(value)[1:-1],
        base64.b64encode(value.encode()).decode(),
    ):
        assert form not in secret.masked(f"no <{form}> here")
        assert secret.masked(f"no <{form}> here").startswith("no <***")
    assert secret.masked("label table cab abs") == "label table cab abs"
    assert value not in f"{secret} {secret!r}"


def test_old_secret_stays_masked_after_reread(tmp_path: Path) -> None:
    """A running request contains the old one; a file that is being written changes nothing."""
    file = tmp_path / "secret"
    file.write_text("first-one\n")
    secret = Secret.from_file(str(file), "password_file")
    assert (secret.reveal(), secret.version) == ("first-one", 0)
    file.write_text("second-one\n")
    assert (secret.reveal(), secret.version) == ("second-one", 1)
    assert secret.masked("first-one second-one") == "*** ***"
    for trouble in (b"", b"\xff\xfe", b"x" * 70_000):
        file.write_bytes(trouble)
        assert secret.reveal() == "second-one"
    file.unlink()
    assert secret.reveal() == "second-one"
