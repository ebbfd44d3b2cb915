"""Redis and Valkey for the tests: servers to start, stop and break, with replicas and Sentinels."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tests.support.servers.certificates import Certificates
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["RedisServer", "Sentinel"]


class RedisServer(LocalServer):
    """A server that keeps its port while it is down; each write is on disk at once.

    Args:
        server: where the program is.
        folder: for its data, its log and its certificates.
        password: what clients have to give, if any.
        tls: whether it speaks TLS on its port, and nothing else; ``"mutual"`` asks clients for a
            certificate, too.
        settings: further settings, on top of ours.
        env: further variables of its environment.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        *,
        password: str = "",
        tls: bool | str = False,
        settings: dict[str, object] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.password, self.folder = password, folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self.certificates = Certificates.make(folder / "certificates") if tls else None
        own = self._settings(mutual=tls == "mutual") | (settings or {})
        words = [word for name, value in own.items() for word in (f"--{name}", str(value))]
        self.process = Process([*_program(server), *words], folder / "log", _env(server, env))

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return self.url_at(self.port)

    def url_at(self, *ports: int, user: str = "", password: str = "") -> str:
        """The same URL with other ports of the same host, such as those of proxies, or another user."""
        password = password or self.password
        secret = f"{user}:{quote(password, safe='')}@" if password else ""
        hosts = ",".join(f"{self.host}:{port}" for port in ports)
        if self.certificates is None:
            return f"redis://{secret}{hosts}"
        return f"redis+tls://{secret}{hosts}?ca={quote(str(self.certificates.ca))}"

    def serves(self) -> bool:
        """Whether it answers requests; while it loads its data, it answers with an error."""
        if self.certificates is not None:
            # It reads no data in the tests that have TLS, so that it listens is enough.
            with socket.socket() as link:
                return link.connect_ex((self.host, self.port)) == 0
        return self.ask("PING").startswith(("+PONG", "-NOAUTH"))

    def ask(self, *commands: str) -> str:
        """The answers to commands, with the password; empty without an answer."""
        login = [f"AUTH {self.password}"] if self.password else []
        lines = "".join(f"{one}\r\n" for one in (*login, *commands, "QUIT"))
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as link:
                link.sendall(lines.encode())
                answer = b"".join(iter(lambda: link.recv(65536), b"")).decode(errors="replace")
        except OSError:
            return ""
        return answer.removeprefix("+OK\r\n") if login else answer

    def info(self, name: str) -> str:
        """One field of INFO; empty without an answer."""
        for line in self.ask("INFO").splitlines():
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
        return ""

    def _settings(self, *, mutual: bool) -> dict[str, object]:
        settings: dict[str, object] = {
            "bind": self.host,
            "dir": self.folder / "data",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
        }
        if self.password:
            settings["requirepass"] = self.password
            settings["masterauth"] = self.password
        if self.certificates is None:
            settings["port"] = self.port
        else:
            settings |= {
                "port": 0,
                "tls-port": self.port,
                "tls-cert-file": self.certificates.server_cert,
                "tls-key-file": self.certificates.server_key,
                "tls-ca-cert-file": self.certificates.ca,
                "tls-auth-clients": "yes" if mutual else "no",
            }
        return settings


class Sentinel(LocalServer):
    """A Sentinel that alone decides about a failover, within a second or two.

    Args:
        server: where the program is.
        folder: for its configuration and its log.
        primary: the server to watch.
        name: of the primary.
    """

    def __init__(
        self, server: Server, folder: Path, primary: RedisServer, name: str = "main"
    ) -> None:
        self.host, self.port, self.name, self.folder = "127.0.0.1", free_port(), name, folder
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind {self.host}\ndir {folder}\n"
            f"sentinel monitor {name} {primary.host} {primary.port} 1\n"
            f"sentinel down-after-milliseconds {name} 700\n"
            f"sentinel failover-timeout {name} 3000\n"
        )
        self.process = Process(
            [*_program(server), str(config), "--sentinel"], folder / "log", _env(server)
        )

    @property
    def url(self) -> str:
        """The URL of the store, with the Sentinel as its host."""
        return f"redis+sentinel://{self.host}:{self.port}?service={self.name}"

    def serves(self) -> bool:
        """Whether it knows the primary and its replica."""
        return f"name={self.name},status=ok" in (said := self._info()) and "slaves=1" in said

    def primary_port(self) -> int:
        """The port of the server that it names as the primary."""
        lines = self._ask(f"SENTINEL GET-MASTER-ADDR-BY-NAME {self.name}").split("\r\n")
        return (
            int(lines[4]) if len(lines) > 4 and lines[4].isdigit() else 0
        )  # the address, the port

    def _info(self) -> str:
        return self._ask("INFO sentinel")

    def _ask(self, command: str) -> str:
        """The answer to a command, as far as it comes within 0.2 s: a Sentinel knows no QUIT."""
        answer = b""
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1) as link:
            link.sendall(f"{command}\r\n".encode())
            link.settimeout(0.2)
            while part := link.recv(65536):
                answer += part
        return answer.decode(errors="replace")


def _program(server: Server) -> list[str]:
    """The words that start the server, by its own loader where it needs another C library."""
    loader = server.paths.get("loader")
    if loader is None:
        return [server.paths["redis"]]
    return [loader, "--library-path", server.paths["libraries"], server.paths["redis"]]


def _env(server: Server, more: dict[str, str] | None = None) -> dict[str, str] | None:
    libraries = server.paths.get("libraries")
    alone = libraries is not None and "loader" not in server.paths
    return {**({"LD_LIBRARY_PATH": str(libraries)} if alone else {}), **(more or {})} or None
