"""Redis for the tests of the example plugin."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

from tests.support.servers.certificates import Certificates
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["RedisServer"]


class RedisServer(LocalServer):
    """A server that keeps its port while it is down; each write is on disk at once.

    Args:
        server: where the program is.
        folder: for its data, its log and its certificates.
        password: what clients have to give, if any.
        tls: whether it speaks TLS on its port, and nothing else.
    """

    def __init__(
        self, server: Server, folder: Path, *, password: str = "", tls: bool = False
    ) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.password, self.folder = password, folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self.certificates = Certificates.make(folder / "certificates") if tls else None
        libraries = server.paths.get("libraries")
        self.process = Process(
            [server.paths["redis"], *self._settings()],
            folder / "log",
            {"LD_LIBRARY_PATH": libraries} if libraries else None,
        )

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The same URL with another port of the same host, such as a proxy's."""
        secret = f":{quote(self.password, safe='')}@" if self.password else ""
        if self.certificates is None:
            return f"redis://{secret}{self.host}:{port}"
        return f"redis+tls://{secret}{self.host}:{port}?ca={quote(str(self.certificates.ca))}"

    def serves(self) -> bool:
        """Whether it answers requests; while it loads its data, it answers with an error."""
        if self.certificates is not None:
            # It reads no data in the tests that have TLS, so that it listens is enough.
            with socket.socket() as link:
                return link.connect_ex((self.host, self.port)) == 0
        return self.ask("PING").startswith(("+PONG", "-NOAUTH"))

    def ask(self, command: str) -> str:
        """The beginning of the answer to a command with the password; empty without an answer."""
        login = f"AUTH {self.password}\r\n" if self.password else ""
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as link:
                link.sendall(f"{login}{command}\r\nQUIT\r\n".encode())
                answer = b"".join(iter(lambda: link.recv(65536), b"")).decode(errors="replace")
        except OSError:
            return ""
        return answer.removeprefix("+OK\r\n") if login else answer

    def _settings(self) -> list[str]:
        settings: dict[str, object] = {
            "bind": self.host,
            "dir": self.folder / "data",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        if self.password:
            settings["requirepass"] = self.password
        if self.certificates is None:
            settings["port"] = self.port
        else:
            settings |= {
                "port": 0,
                "tls-port": self.port,
                "tls-cert-file": self.certificates.server_cert,
                "tls-key-file": self.certificates.server_key,
                "tls-ca-cert-file": self.certificates.ca,
                "tls-auth-clients": "no",
            }
        return [word for name, value in settings.items() for word in (f"--{name}", str(value))]
