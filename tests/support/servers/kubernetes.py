"""Kubernetes for the tests: an API server beside an etcd, or a cluster that is there already.

The API server alone is enough: Leases, watches, RBAC and tokens are its own. See
https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["Kubernetes", "KubernetesServer"]

_ADMIN = "admin-token-of-the-tests"  # of a server on the loopback that ends with the tests
_RECONCILED = "system:basic-user"  # one of the roles that the server makes after its start


class Kubernetes:
    """A running cluster, started by the tests or not, as its administrator sees it.

    Attributes:
        host, port: of the API server.
        kubeconfig: file whose current context may do everything.
    """

    def __init__(self, host: str, port: int, kubeconfig: Path, token: str, ca: str) -> None:
        self.host, self.port, self.kubeconfig = host, port, kubeconfig
        self._token, self._ca = token, ca

    @classmethod
    def named(cls, url: str) -> Kubernetes:
        """The cluster of $LEADERSHIP_TEST_KUBERNETES: a kubeconfig file with a token in it."""
        path = Path(url.removeprefix("kubernetes://?kubeconfig="))
        document = yaml.safe_load(path.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        address = urlsplit(cluster["server"])
        ca = cluster.get("certificate-authority-data")
        text = (
            base64.b64decode(ca).decode()
            if ca
            else Path(cluster["certificate-authority"]).read_text()
        )
        return cls(str(address.hostname), address.port or 443, path, user["token"], text)

    @property
    def url(self) -> str:
        """The URL that users open the store with, in the namespace `default`."""
        return self.url_at(self.port)

    def url_at(self, *ports: int, namespace: str = "default") -> str:
        """The same URL with other ports, such as those of proxies, or with another namespace."""
        hosts = ",".join(f"{self.host}:{port}" for port in ports)
        return f"kubernetes://{hosts}/{namespace}?kubeconfig={quote(str(self.kubeconfig))}"

    def api(
        self, method: str, path: str, body: Any = None, *, timeout: float = 5.0
    ) -> dict[str, Any]:
        """Make a request as the administrator.

        Raises:
            OSError, http.client.HTTPException: there was no answer, or it was an error.
        """
        context = ssl.create_default_context(cadata=self._ca)
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=timeout, context=context
        )
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            if method == "PATCH":
                headers["Content-Type"] = "application/merge-patch+json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise http.client.HTTPException(f"{method} {path}: {answer.status} {text!r:.500}")
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            found = {"text": text.decode()}
        return found

    def serves(self) -> bool:
        """Whether it is ready, with its roles for users."""
        try:
            self.api("GET", "/readyz", timeout=1.0)
            self.api("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{_RECONCILED}")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def lease_path(self, name: str = "", namespace: str = "default") -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}".rstrip("/")

    def lease(self, name: str, namespace: str = "default") -> dict[str, Any]:
        """The Lease of a name."""
        return self.api("GET", self.lease_path(name, namespace))

    def change_lease(self, name: str, change: dict[str, Any], namespace: str = "default") -> None:
        """Change a Lease by hand, as `kubectl patch --type=merge` does."""
        self.api("PATCH", self.lease_path(name, namespace), change)

    def make_namespace(self, name: str) -> str:
        self.api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def user(self, name: str, rules: list[dict[str, Any]], namespace: str = "default") -> Path:
        """A kubeconfig file of a service account that has a Role with these rules."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.api("POST", accounts, {"metadata": {"name": name}})
        self.api("POST", f"{rbac}/roles", {"metadata": {"name": name}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        binding = {"metadata": {"name": name}, "subjects": [subject], "roleRef": role}
        self.api("POST", f"{rbac}/rolebindings", binding)
        return self.write_kubeconfig(
            self.kubeconfig.with_name(f"{name}.yaml"), {"token": self.token_of(name, namespace)}
        )

    def token_of(self, account: str, namespace: str = "default", seconds: int = 3600) -> str:
        """A new token of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        found = self.api("POST", path, {"spec": {"expirationSeconds": seconds}})
        return str(found["status"]["token"])

    def write_kubeconfig(self, path: Path, user: dict[str, Any]) -> Path:
        """Write a kubeconfig file for this cluster with another user."""
        cluster = {
            "server": f"https://{self.host}:{self.port}",
            "certificate-authority-data": base64.b64encode(self._ca.encode()).decode(),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": user}],
        }
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return path

    @property
    def ca(self) -> str:
        """The certificate of its authority."""
        return self._ca

    @property
    def token(self) -> str:
        """Of the administrator."""
        return self._token


class KubernetesServer(Kubernetes, LocalServer):
    """An API server started by the tests, with an etcd of its own; keeps its port and data while it is down.

    `stop`, `kill`, `pause` and `resume` are those of the API server; `etcd` has its own.

    Args:
        server: where the API server is.
        etcd: where the etcd is.
        folder: for data, log and files.
        settings: further options of the command, without their dashes.
    """

    def __init__(
        self,
        server: Server,
        etcd: Server,
        folder: Path,
        *,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        files = Certificates.make(folder / "tls")
        super().__init__(
            "127.0.0.1", free_port(), folder / "kubeconfig.yaml", _ADMIN, files.ca.read_text()
        )
        self.etcd = EtcdServer(etcd, folder / "etcd")
        self._files = files
        self.write_kubeconfig(self.kubeconfig, {"token": _ADMIN})
        (folder / "tokens.csv").write_text(f'{_ADMIN},admin,1,"system:masters"\n')
        _make_signing_key(folder)
        words = [
            f"--{name}={value}" for name, value in (self._settings() | (settings or {})).items()
        ]
        # Few processors are there for many servers.
        self.process = Process(
            [server.paths["kube-apiserver"], *words], folder / "log", {"GOMAXPROCS": "2"}
        )

    def start(self, *, wait: bool = True) -> None:
        """Start both, again or for the first time; returns once the API server serves."""
        if not self.etcd.process.alive:
            self.etcd.start()
        super().start(wait=wait)

    def wait_ready(self, seconds: float = 90.0) -> None:
        """Wait until it serves; raises `ServerError` with the end of its log."""
        super().wait_ready(seconds)

    def remove(self) -> None:
        """Kill both, and delete their data; the logs are kept."""
        super().remove()
        self.etcd.remove()
        shutil.rmtree(self.folder / "tls", ignore_errors=True)

    def _settings(self) -> dict[str, str]:
        return {
            "etcd-servers": f"http://{self.etcd.host}:{self.etcd.port}",
            "bind-address": self.host,
            "secure-port": str(self.port),
            "tls-cert-file": str(self._files.server_cert),
            "tls-private-key-file": str(self._files.server_key),
            "cert-dir": str(self.folder / "tls"),
            "service-account-key-file": str(self.folder / "sa.pub"),
            "service-account-signing-key-file": str(self.folder / "sa.key"),
            "service-account-issuer": "https://leadership.test",
            "token-auth-file": str(self.folder / "tokens.csv"),
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.0.0.0/24",
            "disable-admission-plugins": "ServiceAccount",
            "endpoint-reconciler-type": "none",  # it has no address but the loopback
            "shutdown-delay-duration": "0s",
        }


def _make_signing_key(folder: Path) -> None:
    """Make the keys that tokens of service accounts are signed with."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "sa.key").write_bytes(private)
    (folder / "sa.pub").write_bytes(public)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
