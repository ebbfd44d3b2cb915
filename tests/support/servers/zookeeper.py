"""ZooKeeper for the tests: a running ZooKeeper, and servers to start, stop and break."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization

from tests.support import zookeeper_codec as codec
from tests.support.servers.certificates import Certificates
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["TICK", "ZooKeeper", "ZooKeeperServer"]

TICK = 0.5
"""Seconds; sessions may be 2 to 20 of them long."""

SUPER = ("super", "p@ss w/rd")
"""The user who may do everything, by digest authentication."""


class ZooKeeper:
    """A running ZooKeeper, started by the tests or not.

    Attributes:
        host, port: for clients.
        tick: seconds; its measure of time.
        secure_port: for clients that speak TLS, or 0.
        certificates: those it was started with, or None.
        mutual: it asks clients for a certificate, too.
    """

    secure_port = 0
    certificates: Certificates | None = None
    mutual = False

    def __init__(self, host: str, port: int, tick: float = TICK) -> None:
        self.host, self.port, self.tick = host, port, tick

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return self.url_at(self.port)

    @property
    def secure_url(self) -> str:
        """The same with TLS."""
        assert self.certificates
        files = self.certificates
        options = f"&ca={quote(str(files.ca))}"
        if self.mutual:
            options += f"&cert={quote(str(files.client_cert))}&key={quote(str(files.client_key))}"
        return f"zk+tls://{self.host}:{self.secure_port}?tick={self.tick:g}{options}"

    def url_at(self, *ports: int, chroot: str = "", user: str = "", password: str = "") -> str:
        """The same URL with other ports, such as those of proxies, or with a user."""
        who = f"{user}:{quote(password, safe='')}@" if user else ""
        hosts = ",".join(f"{self.host}:{port}" for port in ports)
        return f"zk://{who}{hosts}{chroot}?tick={self.tick:g}"

    def serves(self) -> bool:
        """Whether it has a role; `ruok` succeeds before it serves."""
        return "Mode:" in self.ask("srvr")

    def ask(self, word: str) -> str:
        """The answer to a four-letter word; empty if there is none."""
        # One that is sent while the server starts may never be answered: hence the short timeout.
        try:
            with socket.create_connection((self.host, self.port), timeout=0.5) as link:
                link.sendall(word.encode())
                return b"".join(iter(lambda: link.recv(65536), b"")).decode()
        except OSError:
            return ""

    def mode(self) -> str:
        """Its role: standalone, leader or follower; empty while it does not serve."""
        found = re.search(r"Mode: (\w+)", self.ask("srvr"))
        return found[1] if found else ""

    def zxid(self) -> int:
        """The id of the last transaction; opening and closing a session are transactions, too."""
        found = re.search(r"Zxid: 0x([0-9a-f]+)", self.ask("srvr"))
        assert found, "it does not say its zxid"
        return int(found[1], 16)

    def sessions(self) -> set[int]:
        """The ids of the open sessions; a follower does not know them."""
        listed = self.ask("dump").partition("ephemeral nodes dump")[0]
        return {
            int(number, 16) for number in re.findall(r"^\s*0x([0-9a-f]+)", listed, re.MULTILINE)
        }

    def ephemerals(self) -> dict[str, int]:
        """The paths of all ephemeral nodes, each with its session."""
        owner, found = 0, {}
        listed = self.ask("dump").partition("Sessions with Ephemerals")[2]
        for line in listed.splitlines():
            if number := re.fullmatch(r"0x([0-9a-f]+):", line.strip()):
                owner = int(number[1], 16)
            elif line.startswith("\t/"):
                found[line.strip()] = owner
        return found

    def expire(self, session: int) -> None:
        """Expire a session at once."""
        codec.close_session(self.host, self.port, session)

    def granted(self, seconds: float) -> float:
        """The session timeout in seconds that it grants for a requested one."""
        return codec.granted(self.host, self.port, seconds)


class ZooKeeperServer(ZooKeeper, LocalServer):
    """A server started by the tests, which keeps its ports and data while it is down.

    Args:
        server: where java and the jars are.
        folder: for its data, its configuration and its log.
        tick: seconds; sessions are 2 to 20 of them long.
        max_session: seconds, instead of 20 ticks; or 0.
        tls: make certificates and serve TLS on `secure_port`, beside what is plain on `port`;
            ``"mutual"`` asks clients for theirs, too.
        settings: further lines of its configuration, on top of ours.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        *,
        tick: float = TICK,
        max_session: float = 0.0,
        tls: bool | str = False,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__("127.0.0.1", free_port(), tick)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings: dict[str, Any] = {
            "tickTime": int(tick * 1000),
            "dataDir": folder / "data",
            "clientPort": self.port,
            "clientPortAddress": self.host,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            "maxClientCnxns": 0,
        }
        if max_session:
            self.settings["maxSessionTimeout"] = int(max_session * 1000)
        if tls:
            self.mutual, self.secure_port = tls == "mutual", free_port()
            self.certificates = Certificates.make(folder / "tls")
            self.settings |= self._tls_settings(self.certificates)
        self.settings |= settings or {}
        file = folder / "zoo.cfg"
        command = [
            server.paths["java"],
            "-Xms32m",
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dzookeeper.jmx.log4j.disable=true",
            "-Dzookeeper.forceSync=no",
            f"-Dzookeeper.DigestAuthenticationProvider.superDigest={digest(*SUPER)}",
            "-cp",
            server.paths["classpath"],
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(file),
        ]
        self.process = Process(command, folder / "log")

    def start(self, *, wait: bool = True) -> None:
        """Start it, again or for the first time; returns once it serves."""
        lines = (f"{key}={value}\n" for key, value in self.settings.items())
        (self.folder / "zoo.cfg").write_text("".join(lines))
        super().start(wait=wait)

    def _tls_settings(self, files: Certificates) -> dict[str, Any]:
        # ZooKeeper takes a PEM file with the certificates and the key, which has to be PKCS #8.
        key = serialization.load_pem_private_key(files.server_key.read_bytes(), None)
        store = self.folder / "tls" / "keystore.pem"
        store.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + files.server_cert.read_bytes()
        )
        return {
            "secureClientPort": self.secure_port,
            "secureClientPortAddress": self.host,
            "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
            "ssl.keyStore.location": store,
            "ssl.keyStore.type": "PEM",
            "ssl.trustStore.location": files.ca,
            "ssl.trustStore.type": "PEM",
            "ssl.clientAuth": "need" if self.mutual else "none",
        }


def digest(user: str, password: str) -> str:
    """The hash of user and password in an ACL, and of the super user."""
    hashed = hashlib.sha1(f"{user}:{password}".encode()).digest()
    return f"{user}:{base64.b64encode(hashed).decode()}"
