"""Servers with one fault each in their TLS; they perform the handshake only."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme

__all__ = ["CASES", "Wrong", "wrong_server"]

_DAY = dt.timedelta(days=1)


class Wrong:
    """A running server with a fault.

    Attributes:
        port: where it listens.
        ca: the authority of its certificate, a PEM file.
        stranger: files of a certificate, and of its key, that another authority has signed.
    """

    def __init__(self, folder: Path) -> None:
        authority, other = trustme.CA(), trustme.CA()
        self.folder = folder
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.authority = authority
        self.stranger = folder / "stranger.pem", folder / "stranger-key.pem"
        leaf = other.issue_cert("client.test")
        leaf.cert_chain_pems[0].write_to_path(str(self.stranger[0]))
        leaf.private_key_pem.write_to_path(str(self.stranger[1]))
        self.port = 0

    def context(self, *names: str, until: dt.timedelta | None = None) -> ssl.SSLContext:
        """A server's context, with a certificate for these names."""
        now = dt.datetime.now(dt.UTC)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf = self.authority.issue_cert(
            *(names or ("127.0.0.1", "localhost")),
            not_before=now - 9 * _DAY,
            not_after=now + (_DAY if until is None else until),
        )
        leaf.configure_cert(context)
        return context


def _name(server: Wrong) -> ssl.SSLContext:
    return server.context("elsewhere.test")


def _expired(server: Wrong) -> ssl.SSLContext:
    return server.context(until=-_DAY)


def _early(server: Wrong) -> ssl.SSLContext:
    now = dt.datetime.now(dt.UTC)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf = server.authority.issue_cert(
        "127.0.0.1", "localhost", not_before=now + _DAY, not_after=now + 2 * _DAY
    )
    leaf.configure_cert(context)
    return context


def _authority(server: Wrong) -> ssl.SSLContext:
    right = server.context()
    trustme.CA().cert_pem.write_to_path(str(server.ca))
    return right


def _old(server: Wrong) -> ssl.SSLContext:
    context = server.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point of it
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context


def _wants_one(server: Wrong) -> ssl.SSLContext:
    context = server.context()
    context.verify_mode = ssl.CERT_REQUIRED
    server.authority.configure_trust(context)
    return context


def _wants_one_12(server: Wrong) -> ssl.SSLContext:
    context = _wants_one(server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def _plain(server: Wrong) -> None:
    return None


CASES: dict[str, tuple[Callable[[Wrong], ssl.SSLContext | None], str]] = {
    "name": (_name, r"not for the name '127\.0\.0\.1'.*in the certificate"),
    "expired": (_expired, r"has expired.*renew"),
    "not yet valid": (_early, r"not valid yet.*clock"),
    "authority": (_authority, r"not trusted; set ca="),
    "TLS 1.1": (_old, r"TLS version is too old.*TLS 1\.2"),
    "client certificate": (_wants_one, r"set cert= and key="),
    "client certificate, TLS 1.2": (_wants_one_12, r"set cert= and key="),
    "plain text": (_plain, r"does not speak TLS on this port"),
}
"""What is wrong: how to make it, and what an error must say."""


@contextmanager
def wrong_server(case: str, folder: Path) -> Iterator[Wrong]:
    """Run a server with one of the mistakes of `CASES`."""
    server = Wrong(folder)
    context = CASES[case][0](server)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        server.port = listener.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_greet, args=(link, context), daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _greet(link: socket.socket, context: ssl.SSLContext | None) -> None:
    with link:
        try:
            link.settimeout(5)
            if context is None:
                link.recv(1024)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                link.shutdown(socket.SHUT_WR)
                link.recv(65536)
                return
            with context.wrap_socket(link, server_side=True) as wrapped:
                wrapped.recv(1024)
        except OSError:
            pass  # the client has given up, as it should
