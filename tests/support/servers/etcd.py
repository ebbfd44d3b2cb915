"""etcd for the tests: a running etcd, and servers to start, stop and break."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.servers.certificates import Certificates
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["Etcd", "EtcdServer"]


class Etcd:
    """A running etcd, started by the tests or not.

    Attributes:
        host, port: for clients.
        user, password: what the helpers here present, and `url` contains; empty without auth.
        certificates: those it was started with, or None.
        mutual: it asks clients for a certificate, too.
    """

    def __init__(
        self,
        etcdctl: str,
        host: str,
        port: int,
        *,
        user: str = "",
        password: str = "",
        certificates: Certificates | None = None,
        mutual: bool = False,
    ) -> None:
        self.etcdctl, self.host, self.port = etcdctl, host, port
        self.user, self.password = user, password
        self.certificates, self.mutual = certificates, mutual

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return self.url_at(self.port)

    def url_at(self, *ports: int, user: str | None = None, password: str | None = None) -> str:
        """The same URL with other ports, such as those of proxies, or with another user."""
        name = self.user if user is None else user
        secret = self.password if password is None else password
        who = f"{name}:{quote(secret, safe='')}@" if name else ""
        hosts = ",".join(f"{self.host}:{port}" for port in ports)
        files = self.certificates
        if files is None:
            return f"etcd://{who}{hosts}"
        options = f"?ca={quote(str(files.ca))}"
        if self.mutual:
            options += f"&cert={quote(str(files.client_cert))}&key={quote(str(files.client_key))}"
        return f"etcd+tls://{who}{hosts}{options}"

    def cli(
        self, *words: str, check: bool = True, timeout: float = 20.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `etcdctl` to its end, such as ``cli("del", key)``."""
        return subprocess.run(
            [self.etcdctl, *words],
            env={**os.environ, **self._environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    def cli_process(self, *words: str, log: Path) -> Process:
        """A long-running `etcdctl`, such as ``etcdctl elect``; the caller starts and ends it."""
        return Process([self.etcdctl, *words], log, self._environment())

    def call(self, method: str, body: dict[str, Any], timeout: float = 2.0) -> dict[str, Any]:
        """Call the JSON gateway, such as ``call("lease/grant", {"TTL": 1})``; without auth.

        Raises:
            OSError, http.client.HTTPException: there was no answer, or it was an error.
        """
        return self._ask("POST", f"/v3/{method}", json.dumps(body), timeout)

    def serves(self) -> bool:
        """Whether it reports itself healthy, which requires a leader."""
        try:
            return str(self._ask("GET", "/health", None, 1.0).get("health")) == "true"
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def shortest_lease(self) -> int:
        """The shortest lease that it grants, in seconds."""
        granted = self.call("lease/grant", {"TTL": 1})
        self.call("lease/revoke", {"ID": granted["ID"]})
        return int(granted["TTL"])

    def revision(self) -> int:
        """The present revision, which each write increments."""
        return int(self.call("kv/range", {"key": _b64("\0")})["header"]["revision"])

    def keys(self, prefix: str) -> dict[str, int]:
        """The keys with a prefix, and the lease of each (0 is none)."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.call("kv/range", {"key": _b64(prefix), "range_end": _b64(end)})
        return {
            base64.b64decode(entry["key"]).decode(): int(entry.get("lease", 0))
            for entry in found.get("kvs", [])
        }

    def revoke(self, lease: int) -> None:
        """Revoke a lease, as an operator does."""
        self.cli("lease", "revoke", f"{lease:x}")

    def compact(self) -> int:
        """Compact all history before the present revision, and return that."""
        revision = self.revision()
        self.cli("compaction", "--physical", str(revision))
        return revision

    def _ask(self, method: str, path: str, body: str | None, timeout: float) -> dict[str, Any]:
        connection = self._connect(timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise http.client.HTTPException(f"{path}: {answer.status} {text!r}")
        found: dict[str, Any] = json.loads(text)
        return found

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        files = self.certificates
        if files is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.client_cert, files.client_key)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)

    def _environment(self) -> dict[str, str]:
        files = self.certificates
        scheme = "https" if files else "http"
        found = {
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": f"{scheme}://{self.host}:{self.port}",
        }
        if self.user:
            found["ETCDCTL_USER"] = f"{self.user}:{self.password}"
        if files:
            found["ETCDCTL_CACERT"] = str(files.ca)
            found["ETCDCTL_CERT"] = str(files.client_cert)
            found["ETCDCTL_KEY"] = str(files.client_key)
        return found


class EtcdServer(Etcd, LocalServer):
    """An etcd server started by the tests, which keeps its ports and data while it is down.

    Args:
        server: where the binaries are.
        folder: for its data and its log.
        auth: deny everything to clients without a password; `user` is root.
        auth_token_ttl: seconds for which the token that a password buys is good.
        tls: make certificates and serve TLS only; ``"mutual"`` asks clients for theirs, too.
        name: of the node.
        settings: further options of the command, without their dashes, on top of ours.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        *,
        auth: bool = False,
        auth_token_ttl: int = 300,
        tls: bool | str = False,
        name: str = "n1",
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            server.paths["etcdctl"],
            "127.0.0.1",
            free_port(),
            certificates=Certificates.make(folder / "tls") if tls else None,
            mutual=tls == "mutual",
        )
        self.folder, self.name, self.peer_port = folder, name, free_port()
        self._auth_wanted = auth
        folder.mkdir(parents=True, exist_ok=True)
        self._binary, self._options = server.paths["etcd"], self._settings()
        self.set_options({"auth-token-ttl": str(auth_token_ttl)} | (settings or {}))

    def set_options(self, settings: dict[str, str]) -> None:
        """Use these options of the command, too; it must not be running."""
        self._options |= settings
        words = [f"--{option}={value}" for option, value in self._options.items()]
        command = [self._binary, *words, "--unsafe-no-fsync"]
        self.process = Process(command, self.folder / "log")

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Wait until it serves; the first time, enable authentication afterwards."""
        super().wait_ready(seconds)
        if self._auth_wanted and not self.user:
            password = "p@ss w/rd"  # with what a URL has to escape
            self.cli("user", "add", f"root:{password}")
            self.cli("role", "add", "root", check=False)  # some releases bring it
            self.cli("user", "grant-role", "root", "root")
            self.cli("auth", "enable")
            self.user, self.password = "root", password

    def _settings(self) -> dict[str, str]:
        files = self.certificates
        client = f"{'https' if files else 'http'}://{self.host}:{self.port}"
        peer = f"http://{self.host}:{self.peer_port}"
        settings = {
            "name": self.name,
            "data-dir": str(self.folder / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"{self.name}={peer}",
            "initial-cluster-state": "new",
            "heartbeat-interval": "50",  # with the election timeout, lets a lease be 1 s short
            "election-timeout": "500",
            "bcrypt-cost": "4",  # the least: passwords are not what takes time here
            "log-level": "warn",
            "logger": "zap",  # 3.4 has another one by default
        }
        if files:
            settings["cert-file"] = str(files.server_cert)
            settings["key-file"] = str(files.server_key)
        if files and self.mutual:
            settings["trusted-ca-file"] = str(files.ca)
            settings["client-cert-auth"] = "true"
        return settings


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
