"""etcd for the tests: a single node of our own."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.provision import Server

__all__ = ["EtcdServer"]


class EtcdServer:
    """A node on a port that stays its own while it is down; its data are on disk."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.host, self.port, self._peer_port = "127.0.0.1", free_port(), free_port()
        self.folder = folder
        self._etcdctl = server.paths["etcdctl"]
        folder.mkdir(parents=True, exist_ok=True)
        self.process = Process([server.paths["etcd"], *self._options()], folder / "log")

    @property
    def url(self) -> str:
        """What a user opens it with."""
        return f"etcd://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it, again or for the first time; returns once it serves."""
        self.process.start()
        self.process.wait_until(self.serves, 20)

    def serves(self) -> bool:
        """Whether it says that it is healthy, which takes a leader."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=1)
        try:
            connection.request("GET", "/health")
            return b'"health":"true"' in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def cli(self, *words: str, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run `etcdctl` to its end."""
        return subprocess.run(
            [self._etcdctl, *words],
            env={**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": f"{self.host}:{self.port}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=timeout,
        )

    def remove(self) -> None:
        """Kill it and delete its data."""
        self.process.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _options(self) -> list[str]:
        client, peer = (f"http://{self.host}:{port}" for port in (self.port, self._peer_port))
        settings = {
            "name": "n1",
            "data-dir": str(self.folder / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"n1={peer}",
            "initial-cluster-state": "new",
            "heartbeat-interval": "50",  # with the election timeout, lets a lease be 1 s short
            "election-timeout": "500",
            "log-level": "warn",
        }
        return [f"--{name}={value}" for name, value in settings.items()] + ["--unsafe-no-fsync"]
