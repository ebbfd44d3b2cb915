"""The options of a Kubernetes store: the cluster, the credentials, the namespace and the prefix."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from leadership_core.backend import (
    Host,
    Secret,
    StoreURL,
    URLError,
    as_text,
    flag,
    warn_about_connection,
)

from .credentials import Credentials, check_token
from .kubeconfig import Cluster, default_files, read_kubeconfig
from .tls import ClusterTLS

__all__ = ["Options"]

DEFAULT_PORT = 6443
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""What Kubernetes puts into every container: `token`, `ca.crt` and `namespace`."""

_NAMESPACE = re.compile("[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TLS = {"ca": as_text, "cert": as_text, "key": as_text, "verify": flag}


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach the cluster, and where the Leases are.

    Attributes:
        cluster: its addresses and credentials.
        namespace: of the Leases.
        prefix: what the URL puts before every key.
    """

    cluster: Cluster
    namespace: str
    prefix: str

    @classmethod
    def read(cls, url: StoreURL) -> Self:
        """Read the options of a URL, and the files that it names.

        Raises:
            ConfigurationError: a part is wrong, or a file cannot be used.
        """
        known = {"kubeconfig": as_text, "context": as_text, "token_file": as_text, **_TLS}
        # Kubernetes always has TLS: `kubernetes+tls://` means the same.
        found: dict[str, Any] = replace(url, tls=False).read_options(known)
        if url.username:
            raise URLError(
                "kubernetes:// has no users: the token goes in the password place, ':TOKEN@'"
            )
        namespace, _, rest = url.path.strip("/").partition("/")
        cluster = _cluster(url, found)
        namespace = namespace or cluster.namespace or "default"
        if not _NAMESPACE.fullmatch(namespace):
            raise URLError(
                f"{namespace!r:.99} is not a namespace: the path of the URL is /NAMESPACE[/PREFIX]"
            )
        return cls(cluster, namespace, replace(url, path=rest).prefix)


def _cluster(url: StoreURL, found: dict[str, Any]) -> Cluster:
    by_file = "kubeconfig" in found or "context" in found
    explicit = [name for name in (*_TLS, "token_file") if name in found]
    if (explicit or url.password) and (by_file or not url.hosts):
        what = explicit[0] + "=" if explicit else "a token"
        raise URLError(
            f"{what} needs a host in the URL, and no kubeconfig= or context=, which contain it"
        )
    if by_file:
        files = [Path(found["kubeconfig"])] if "kubeconfig" in found else default_files()
        cluster = read_kubeconfig(files, found.get("context"))
        return _at_hosts(cluster, url)
    if url.hosts:
        return _named(url, found)
    inside = _in_cluster()
    return inside or read_kubeconfig(default_files(), None)


def _at_hosts(cluster: Cluster, url: StoreURL) -> Cluster:
    """The cluster by other addresses, such as those of a proxy; its certificate stays the same."""
    if not url.hosts:
        return cluster
    if cluster.tls is not None and cluster.tls.server_name is None:
        cluster.tls.server_name = cluster.hosts[0].name
    return replace(cluster, hosts=_hosts(url))


def _named(url: StoreURL, found: dict[str, Any]) -> Cluster:
    if "key" in found and "cert" not in found:
        raise URLError("option 'key' requires option 'cert'")
    if url.password and "token_file" in found:
        raise URLError("the token is given twice, in the password place and in token_file=")
    token = Secret(url.password, check=check_token) if url.password else None
    if "token_file" in found:
        token = Secret.from_file(found["token_file"], "token_file", check_token)
    verify = found.get("verify", True)
    warn_about_connection(replace(url, tls=True), verify=verify, secret=token, kind="token")
    tls = ClusterTLS(found.get("ca"), found.get("cert"), found.get("key"), verify=verify)
    return Cluster(_hosts(url), "", tls, Credentials(token))


def _hosts(url: StoreURL) -> tuple[Host, ...]:
    return tuple(dict.fromkeys(url.with_default_port(DEFAULT_PORT).hosts))


def _in_cluster() -> Cluster | None:
    """The cluster that this process runs in, by its service account; None if it runs in none."""
    name = os.environ.get("KUBERNETES_SERVICE_HOST")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = SERVICE_ACCOUNT / "token"
    if not name or not port.isdigit() or not token.exists():
        return None
    try:
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip() or None
    except OSError:
        namespace = None
    # The token is replaced by the kubelet from time to time, and read again then.
    secret = Secret.from_file(str(token), "token_file", check_token)
    tls = ClusterTLS(str(SERVICE_ACCOUNT / "ca.crt"))
    return Cluster((Host(name, int(port)),), "", tls, Credentials(secret), namespace)
