"""Warnings about unsafe ways to open a store, logged once when it is opened."""

from __future__ import annotations

import ipaddress
import logging
import stat
from collections.abc import Iterable
from pathlib import Path

from .secret import Secret
from .url import StoreURL

__all__ = ["is_loopback", "warn_about_connection", "warn_about_database"]

log: logging.Logger = logging.getLogger(__name__)


def warn_about_connection(
    url: StoreURL, *, verify: bool, secret: Secret | None = None, kind: str = "password"
) -> None:
    """Warn about a connection that others can read or change, and about a file with a secret.

    Args:
        url: the URL of the store.
        verify: whether the server's certificate is checked, if there is TLS.
        secret: the secret that is sent to the server, or None.
        kind: the name of that secret, for the message.
    """
    far = [str(host) for host in url.hosts if not is_loopback(host.name)]
    if url.tls and not verify:
        log.warning(
            "%s: verify=false: the certificate of the server is not checked, so an attacker on the network "
            "can read and change the traffic; set ca= to the authority instead",
            url,
        )
    if secret is not None and not url.tls and far:
        log.warning(
            "%s: the %s is sent to %s in plain text: use %s+tls://",
            url,
            kind,
            ", ".join(far),
            url.scheme,
        )
    if secret is not None and secret.file is not None:
        _warn_about_file(url, f"{kind}_file", secret.file)


def warn_about_database(url: StoreURL, path: Path) -> None:
    """Warn about a database that other users of the machine can change or replace.

    Args:
        url: the URL of the store.
        path: the path of the database, which need not exist.
    """
    if _is_writable_by_all(path):
        log.warning(
            "%s: every user of this machine can write to the database %s: forbid it (chmod o-w)",
            url,
            path,
        )
    for folder in _folders(path):
        # The sticky bit does not help: another user can create the file, or a link, first.
        if _is_writable_by_all(folder):
            log.warning(
                "%s: every user of this machine can write to the folder %s, and put a file or a "
                "link in the place of the database: use a folder that only its owner can write to",
                url,
                folder,
            )


def is_loopback(name: str) -> bool:
    """Whether traffic to the host does not leave the machine."""
    name = name.removesuffix(".").partition("%")[0].lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _warn_about_file(url: StoreURL, option: str, file: Path) -> None:
    if _is_writable_by_all(file):
        log.warning(
            "%s: every user of this machine can write to the %s %s: forbid it (chmod o-w)",
            url,
            option,
            file,
        )
    for folder in _folders(file):
        # With the sticky bit, other users cannot replace our file.
        if _is_writable_by_all(folder) and not _mode(folder) & stat.S_ISVTX:
            log.warning(
                "%s: every user of this machine can replace the %s %s, because its folder %s can be "
                "written to: forbid it (chmod o-w)",
                url,
                option,
                file,
                folder,
            )


def _folders(file: Path) -> Iterable[Path]:
    # The folder of the link, and that of its target.
    try:
        return dict.fromkeys([file.absolute().parent, file.resolve().parent])
    except (OSError, RuntimeError):
        return [file.absolute().parent]


def _is_writable_by_all(path: Path) -> bool:
    return bool(_mode(path) & stat.S_IWOTH)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0
