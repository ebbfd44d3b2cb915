"""The TLS parameters of a connection, by this library's option names or by libpq's.

See https://www.postgresql.org/docs/current/libpq-ssl.html.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from leadership_core.backend import (
    ClientTLS,
    Secret,
    StoreURL,
    URLError,
    is_loopback,
    warn_about_connection,
)

__all__ = ["LIBPQ_OPTIONS", "tls_parameters", "warn"]

log: logging.Logger = logging.getLogger(__name__)

LIBPQ_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ENCRYPTED = {"require", "verify-ca", "verify-full"}

# Where the systems keep the authorities that they trust, as one file; libpq reads no folder of them.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def tls_parameters(url: StoreURL, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of libpq for the TLS options of a URL.

    ``postgresql+tls://`` means ``sslmode=verify-full``, with `ca`, `cert`, `key` and `verify` as on every
    store. Without it, libpq's own names and its default hold: ``sslmode=prefer``, TLS if the server has it.

    Args:
        url: of the store.
        options: as they were read.

    Raises:
        ConfigurationError: they contradict each other, or a file cannot be used.
    """
    given = {name: options[name] for name in LIBPQ_OPTIONS if name in options}
    if url.tls:
        if given:
            raise URLError(
                f"option {next(iter(given))!r} goes without +tls: write {url.scheme}+tls:// with ca=, cert=, "
                f"key=, verify=, or {url.scheme}:// with sslmode= and the other names of libpq"
            )
        ClientTLS.of_options(options)  # checks the files
        verify = options.get("verify", True)
        found = {"sslmode": "verify-full" if verify else "require"}
        if verify:
            found["sslrootcert"] = options.get("ca") or _system_bundle()
        found |= {"sslcert": options["cert"]} if "cert" in options else {}
        if "cert" in options:
            found["sslkey"] = options.get("key", options["cert"])
        return found
    mode = given.get("sslmode", "prefer")
    if mode not in _MODES:
        raise URLError(f"option 'sslmode' is {mode!r:.20}, and not one of {', '.join(_MODES)}")
    given["sslmode"] = mode
    if any(name in given for name in ("sslcert", "sslkey")) and mode != "disable":
        ClientTLS.of_options(
            {
                name.removeprefix("ssl"): value
                for name, value in given.items()
                if name in {"sslcert", "sslkey"}
            }
        )
    if given.get("sslrootcert", "system") != "system":
        ClientTLS(given["sslrootcert"])
    return given


def warn(url: StoreURL, parameters: Mapping[str, str], secret: Secret | None) -> None:
    """Log warnings about a connection that others can read or change.

    Args:
        url: of the store.
        parameters: of its connections.
        secret: the password, or None.
    """
    mode = parameters["sslmode"]
    encrypted = replace(url, tls=url.tls or mode in _ENCRYPTED)
    warn_about_connection(
        encrypted, verify=not url.tls or mode == "verify-full", secret=secret, kind="password"
    )
    far = [str(host) for host in url.hosts if not is_loopback(host.name)]
    if not url.tls and mode == "require" and "sslrootcert" not in parameters and far:
        log.warning(
            "%s: sslmode=require: the certificate of the server is not checked, so an attacker on the network "
            "can read and change the traffic; use sslmode=verify-full with sslrootcert=, or %s+tls://",
            url,
            url.scheme,
        )


def _system_bundle() -> str:
    known = ssl.get_default_verify_paths()
    for path in (known.cafile, known.openssl_cafile, *_BUNDLES):
        if path and Path(path).is_file():
            return path
    return "system"  # libpq's own word, for those that OpenSSL has been built with
