"""TLS for gRPC channels, and the diagnosis of handshakes that have failed.

gRPC reports of a handshake only that it has failed, or that a socket was closed. So when one has
failed, it is repeated with the standard library, which reports the reason.
"""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leadership_core.backend import (
    Address,
    ClientTLS,
    advice,
    connected,
    is_hang_up,
    is_tls_failure,
)

from .compat import grpc

__all__ = ["TLS", "speaks_tls", "target"]

_DEBIAN_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


class TLS(ClientTLS):
    """The TLS settings of a store; thread-safe. See `ClientTLS`."""

    def channel(self, address: Address, options: list[tuple[str, Any]], until: float) -> Any:
        """Make a channel with the present content of the files.

        Blocks only without `verify`, to read the server's certificate.

        Args:
            address: of the endpoint.
            options: of the channel.
            until: when to give up on reading the certificate, on `clock.now`.

        Raises:
            OSError, ConfigurationError: a file cannot be read, or, without `verify`, the server
                cannot be reached.
        """
        authorities = self.ca
        if authorities is None:
            # What Python trusts by default; where it has no such file, what gRPC does.
            authorities = ssl.get_default_verify_paths().cafile
            if authorities is None and Path(_DEBIAN_AUTHORITIES).is_file():
                authorities = _DEBIAN_AUTHORITIES
        roots, name = _content(authorities), address.name
        if not self.verify:
            # gRPC checks every certificate. So it has to trust the one that the server presents.
            roots, name = self._presented(address, until)
        # The channel connects to a number, so gRPC needs the name for its check.
        options = [*options, ("grpc.ssl_target_name_override", name)]
        credentials = grpc.ssl_channel_credentials(
            roots, _content(self.key or self.cert), _content(self.cert)
        )
        return grpc.secure_channel(target(address), credentials, options)

    def unverified(self) -> ssl.SSLContext:
        """A context for a connection that carries no secret, with the present content of the files.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        context = self.build()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context

    def trouble(self, address: Address, until: float) -> str | None:
        """Repeat a handshake that has failed; returns what is wrong and the cure, if anything is.

        Args:
            address: of the server.
            until: when to give up, on `clock.now`.
        """
        error = self.why_hung_up(address, until)
        if error is None:
            return None
        if is_tls_failure(error):
            return advice(error, name=address.name, has_certificate=self.cert is not None)
        if is_hang_up(error):
            try:
                with connected(address, until) as sock:
                    sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
                    speaks_http = sock.recv(5) == b"HTTP/"
            except OSError:
                return None
            if speaks_http:
                return "it does not speak TLS on this port; name its TLS port, or leave out +tls"
        return None

    def _presented(self, address: Address, until: float) -> tuple[bytes, str]:
        """The certificate that a server presents, and a name for which it is valid."""
        context = self.build()
        with (
            connected(address, until) as sock,
            context.wrap_socket(sock, server_hostname=address.name) as wrapped,
        ):
            found = wrapped.getpeercert(binary_form=True)
        assert found is not None
        pem = ssl.DER_cert_to_PEM_cert(found)
        # Python parses only a certificate that it has verified: here, by itself.
        context.load_verify_locations(cadata=pem)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
        with (
            connected(address, until) as sock,
            context.wrap_socket(sock, server_hostname=address.name) as wrapped,
        ):
            certificate: Mapping[str, Any] = wrapped.getpeercert() or {}
        kinds = {"DNS", "IP Address"}
        names = [name for kind, name in certificate.get("subjectAltName", ()) if kind in kinds]
        subject = itertools.chain.from_iterable(certificate.get("subject", ()))
        names += [value for kind, value in subject if kind == "commonName"]
        return pem.encode(), names[0] if names else address.name


def target(address: Address) -> str:
    """An address in gRPC's form, so that gRPC resolves no name by itself."""
    number, port = address.number.replace("%", "%25"), address.sockaddr[1]
    if address.family == socket.AF_INET6:
        return f"ipv6:[{number}]:{port}"
    return f"ipv4:{number}:{port}"


def speaks_tls(address: Address, until: float) -> bool:
    """Whether a server that does not answer in plain text requires TLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connected(address, until) as sock, context.wrap_socket(sock):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _content(file: str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
