"""Kubeconfig files: the cluster, the user and the namespace of a context.

See https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from leadership_core.backend import (
    ConfigurationError,
    HiddenText,
    Host,
    Secret,
    URLError,
    why_unreadable,
)

from .credentials import Credentials, ExecCommand, check_api_version, check_token
from .tls import ClusterTLS

__all__ = ["Cluster", "default_files", "read_kubeconfig"]

_LARGEST = 4 * 1024**2  # bytes of a file


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and how to name oneself to it.

    Attributes:
        hosts: its API servers, each with its port.
        path: before the path of every request, for a cluster behind a gateway.
        tls: None for plain HTTP.
        credentials: of the user.
        namespace: of the context, or None.
    """

    hosts: tuple[Host, ...]
    path: str
    tls: ClusterTLS | None
    credentials: Credentials
    namespace: str | None = None


def default_files() -> list[Path]:
    """The files of $KUBECONFIG, or the one in the user's home."""
    named = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return named or [Path("~/.kube/config").expanduser()]


def read_kubeconfig(files: list[Path], context: str | None) -> Cluster:
    """Read a context.

    Args:
        files: the first file that has a name wins; those that do not exist are skipped, unless there
            is only one.
        context: its name; None for the current one.

    Raises:
        ConfigurationError: a file cannot be read, or the context is not complete.
    """
    merged = _merged(files)
    name = context or merged["current-context"]
    if not name:
        raise ConfigurationError(
            f"{_shown(files)} has no current context: name one with context= in the URL"
        )
    chosen = _found(merged, "contexts", "context", name, files)
    cluster = _found(merged, "clusters", "cluster", chosen.get("cluster"), files)
    user = _found(merged, "users", "user", chosen.get("user"), files) if chosen.get("user") else {}
    if cluster.get("proxy-url"):
        raise ConfigurationError("proxy-url of a kubeconfig file is not supported by kubernetes://")
    if user.get("auth-provider"):
        raise ConfigurationError(
            "auth-provider of a kubeconfig file is not supported by kubernetes://; use its credential command (exec)"
        )
    hosts, path, encrypted = _server(cluster.get("server"))
    tls = _tls(cluster, user) if encrypted else None
    return Cluster(
        hosts=hosts,
        path=path,
        tls=tls,
        credentials=_credentials(cluster, user, tls),
        namespace=chosen.get("namespace") or None,
    )


def _merged(files: list[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    for file in files:
        if len(files) > 1 and not file.exists():
            continue
        document = _load(file)
        merged["current-context"] = merged["current-context"] or document.get("current-context")
        for kind in ("clusters", "users", "contexts"):
            for one in document.get(kind) or ():
                if not isinstance(one, dict):
                    raise ConfigurationError(f"{file} is not a kubeconfig file: see its {kind}")
                body = one.get(kind[:-1]) or {}
                merged[kind].setdefault(one.get("name"), {**body, "_folder": file.parent})
    return merged


def _load(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST)
        document = yaml.safe_load(data)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"cannot read the kubeconfig file {str(file)!r}: {why_unreadable(error)}"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        # Not as the cause: the error quotes the text, which may be secret.
        raise ConfigurationError(f"the kubeconfig file {str(file)!r} is not YAML") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{str(file)!r} is not a kubeconfig file")
    return document


def _found(
    merged: Mapping[str, Any], kind: str, what: str, name: object, files: list[Path]
) -> Mapping[str, Any]:
    found = merged[kind].get(name)
    if found is None:
        known = ", ".join(sorted(map(str, merged[kind]))) or "none"
        raise ConfigurationError(
            f"{_shown(files)} has no {what} {name!r:.99}; its {kind} are: {known}"
        )
    return dict(found)


def _server(server: object) -> tuple[tuple[Host, ...], str, bool]:
    try:
        parts = urlsplit(str(server))
        port = parts.port
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise URLError("it is no URL of HTTP")
        host = Host(parts.hostname, port or (443 if parts.scheme == "https" else 80))
    except ValueError as error:
        raise ConfigurationError(
            f"the server of the cluster in the kubeconfig file cannot be used: {error}"
        ) from None
    return (host,), parts.path.rstrip("/"), parts.scheme == "https"


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ClusterTLS:
    cert_text = None
    if user.get("client-certificate-data") and user.get("client-key-data"):
        cert = _decoded(user, "client-certificate-data")
        cert_text = HiddenText(f"{cert}\n{_decoded(user, 'client-key-data')}\n")
    ca_text = None
    if cluster.get("certificate-authority-data"):
        ca_text = _decoded(cluster, "certificate-authority-data")
    return ClusterTLS(
        None if ca_text else _path(cluster, "certificate-authority"),
        None if cert_text else _path(user, "client-certificate"),
        None if cert_text else _path(user, "client-key"),
        verify=not cluster.get("insecure-skip-tls-verify"),
        ca_text=ca_text,
        cert_text=cert_text,
        server_name=cluster.get("tls-server-name") or None,
    )


def _credentials(
    cluster: Mapping[str, Any], user: Mapping[str, Any], tls: ClusterTLS | None
) -> Credentials:
    if file := _path(user, "tokenFile"):
        return Credentials(Secret.from_file(file, "tokenFile", check_token))
    if user.get("token"):
        return Credentials(Secret(HiddenText(str(user["token"])), check=check_token))
    command = user.get("exec")
    if not command:
        return Credentials()
    words = [str(command.get("command") or "")]
    if os.sep in words[0] and not Path(words[0]).is_absolute():
        words[0] = str(user["_folder"] / words[0])
    words += [str(one) for one in command.get("args") or ()]
    env = {str(one["name"]): str(one["value"]) for one in command.get("env") or ()}
    about = None
    if command.get("provideClusterInfo"):
        about = {
            name: cluster[name]
            for name in (
                "server",
                "tls-server-name",
                "insecure-skip-tls-verify",
                "certificate-authority-data",
            )
            if name in cluster
        }
    return Credentials(
        command=ExecCommand(words, env, check_api_version(command.get("apiVersion")), about),
        use_certificate=tls.use_certificate if tls is not None else lambda _: None,
    )


def _path(entry: Mapping[str, Any], name: str) -> str | None:
    """A file that is named in the entry, relative to the kubeconfig file."""
    value = entry.get(name)
    return str(entry["_folder"] / str(value)) if value else None


def _decoded(entry: Mapping[str, Any], name: str) -> str:
    try:
        return base64.b64decode(str(entry[name]), validate=True).decode()
    except ValueError:
        raise ConfigurationError(f"{name} of the kubeconfig file is not base64 of text") from None


def _shown(files: list[Path]) -> str:
    return "the kubeconfig file " + os.pathsep.join(map(str, files))
