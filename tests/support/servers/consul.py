"""Consul for the tests: a running Consul, and agents to start, stop and break."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.servers.certificates import Certificates
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["Answer", "Consul", "ConsulAgent"]


@dataclass(frozen=True)
class Answer:
    """A response of Consul's HTTP API; `body` is the JSON document, or the text."""

    status: int
    body: Any


class Consul:
    """A running Consul, started by the tests or not.

    Attributes:
        host, port: of the HTTP interface, or of HTTPS where there are certificates.
        token: what the helpers here present, and `url` contains; empty without ACLs.
        certificates: those it was started with, or None.
    """

    def __init__(
        self,
        binary: str,
        host: str,
        port: int,
        *,
        token: str = "",
        certificates: Certificates | None = None,
    ) -> None:
        self.binary, self.host, self.port = binary, host, port
        self.token, self.certificates = token, certificates

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return self.url_at(self.port)

    def url_at(self, *ports: int, token: str | None = None) -> str:
        """The same URL with other ports, such as those of proxies, or with another token."""
        scheme = "consul+tls" if self.certificates else "consul"
        secret = self.token if token is None else token
        query = f"?ca={quote(str(self.certificates.ca))}" if self.certificates else ""
        hosts = ",".join(f"{self.host}:{port}" for port in ports)
        return f"{scheme}://{f':{secret}@' if secret else ''}{hosts}{query}"

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | dict[str, Any] | list[Any] | None = None,
        *,
        token: str | None = None,
        timeout: float = 5.0,
    ) -> Answer:
        """Send one request to a path such as ``/v1/kv/key?raw``; raises OSError, HTTPException."""
        headers = {"X-Consul-Token": self.token if token is None else token}
        data = json.dumps(body) if isinstance(body, dict | list) else body
        connection = self._connect(timeout)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "surrogateescape")
        finally:
            connection.close()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Answer(answer.status, json.loads(text) if is_json else text)

    def cli(
        self, *words: str, token: str | None = None, check: bool = True, timeout: float = 20.0
    ) -> subprocess.CompletedProcess[str]:
        """Run the `consul` command to its end, such as ``cli("kv", "delete", key)``."""
        return subprocess.run(
            [self.binary, *words],
            env={**os.environ, **self._environment(token)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    def cli_process(self, *words: str, log: Path, token: str | None = None) -> Process:
        """A long-running command, such as ``consul lock``; the caller starts and ends it."""
        return Process([self.binary, *words], log, self._environment(token))

    def serves_sessions(self, ttl: str = "10s") -> bool:
        """Whether a session can be opened: then there is a leader, and the node is registered."""
        try:
            made = self.request("PUT", "/v1/session/create", {"TTL": ttl}, timeout=1.0)
            if made.status != 200:
                return False
            self.request("PUT", f"/v1/session/destroy/{made.body['ID']}")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        files = self.certificates
        if files is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.client_cert, files.client_key)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)

    def _environment(self, token: str | None) -> dict[str, str]:
        files = self.certificates
        found = {
            "CONSUL_HTTP_ADDR": f"{'https' if files else 'http'}://{self.host}:{self.port}",
            "CONSUL_HTTP_TOKEN": self.token if token is None else token,
        }
        if files:
            found["CONSUL_CACERT"] = str(files.ca)
            found["CONSUL_CLIENT_CERT"] = str(files.client_cert)
            found["CONSUL_CLIENT_KEY"] = str(files.client_key)
        return found


class ConsulAgent(Consul, LocalServer):
    """A Consul server started by the tests, which keeps its ports while it is down.

    Args:
        server: where the binary is.
        folder: for its data, its configuration and its log.
        dev: everything in memory, and ready in 0.1 s; it forgets all when it is stopped.
        acl: deny everything to clients without a token; `token` is the management token.
        tls: make certificates and serve HTTPS only; ``"mutual"`` asks clients for theirs, too.
        config: further settings of the agent, on top of ours.
        name: of its node.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        *,
        dev: bool = False,
        acl: bool = False,
        tls: bool | str = False,
        config: dict[str, Any] | None = None,
        name: str = "n1",
    ) -> None:
        super().__init__(
            server.paths["consul"],
            "127.0.0.1",
            free_port(),
            token=str(uuid.uuid4()) if acl else "",
            certificates=Certificates.make(folder / "tls") if tls else None,
        )
        self.folder, self.name = folder, name
        self.rpc_port, self.serf_port = free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "config.json"
        settings = self._settings(server, mutual=tls == "mutual")
        file.write_text(json.dumps(settings | (config or {})))
        mode = ["-dev"] if dev else ["-server", "-data-dir", str(folder / "data")]
        if not dev and "bootstrap_expect" not in (config or {}):
            mode += ["-bootstrap-expect", "1"]
        command = [self.binary, "agent", *mode, "-config-file", str(file)]
        self.process = Process(command, folder / "log")

    def serves(self) -> bool:
        """Whether it serves sessions."""
        return self.serves_sessions()

    def _settings(self, server: Server, *, mutual: bool) -> dict[str, Any]:
        ports = {"server": self.rpc_port, "serf_lan": self.serf_port, "serf_wan": -1, "dns": -1}
        ports |= {"http": -1, "https": self.port} if self.certificates else {"http": self.port}
        ports |= {"grpc": -1} | ({"grpc_tls": -1} if server.release >= (1, 14) else {})
        settings: dict[str, Any] = {
            "node_name": self.name,
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "ports": ports,
            "session_ttl_min": "1s",  # so that no test has to wait for the usual 2 x 10 s
            "performance": {"raft_multiplier": 1},
            "leave_on_terminate": False,
            "disable_update_check": True,
            "log_level": "info",
        }
        if self.certificates:
            settings["ca_file"] = str(self.certificates.ca)
            settings["cert_file"] = str(self.certificates.server_cert)
            settings["key_file"] = str(self.certificates.server_key)
            settings["verify_incoming_https"] = mutual
        if self.token:
            manager = "initial_management" if server.release >= (1, 11) else "master"
            tokens = {manager: self.token, "agent": self.token}
            settings["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
        return settings
