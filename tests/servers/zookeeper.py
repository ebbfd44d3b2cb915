"""ZooKeeper for the tests: a single node of our own."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.provision import Server

__all__ = ["ZooKeeperServer"]

TICK = 0.5
"""Seconds; sessions may be 2 to 20 of them long."""


class ZooKeeperServer:
    """A node on a port that stays its own while it is down; its data are on disk."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "zoo.cfg"
        file.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        command = [
            server.paths["java"],
            "-Xms32m",
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dzookeeper.jmx.log4j.disable=true",
            "-Dzookeeper.forceSync=no",
            "-cp",
            server.paths["classpath"],
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(file),
        ]
        self.process = Process(command, folder / "log")

    @property
    def url(self) -> str:
        """What a user opens it with."""
        return f"zk://{self.host}:{self.port}"

    def start(self) -> None:
        """Start it, again or for the first time; returns once it serves."""
        self.process.start()
        self.process.wait_until(self.serves, 30)

    def serves(self) -> bool:
        """Whether it has a role; it says that it is fine (`ruok`) before it serves."""
        return "Mode:" in self.ask("srvr")

    def ask(self, word: str) -> str:
        """The answer to one of ZooKeeper's four-letter words; empty if there is none."""
        # One that is sent while the server starts may never be answered: hence the short timeout.
        try:
            with socket.create_connection((self.host, self.port), timeout=0.3) as link:
                link.sendall(word.encode())
                return b"".join(iter(lambda: link.recv(65536), b"")).decode()
        except OSError:
            return ""

    def remove(self) -> None:
        """Kill it and delete its data."""
        self.process.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _settings(self) -> dict[str, object]:
        return {
            "tickTime": int(TICK * 1000),
            "dataDir": self.folder / "data",
            "clientPort": self.port,
            "clientPortAddress": self.host,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            "maxClientCnxns": 0,
        }
