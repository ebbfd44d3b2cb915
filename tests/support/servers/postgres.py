"""PostgreSQL and PgBouncer for tests: servers of one process tree each, on ports of the local host."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.servers.cache import folder
from tests.support.servers.certificates import Certificates
from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["DATABASE", "PASSWORD", "USER", "PgBouncer", "PostgresServer"]

DATABASE = "test"
USER, PASSWORD = "tester", "pass word/1"  # not the superuser

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "16MB",
    "wal_level": "replica",
    "max_wal_senders": "5",
    "max_wal_size": "128MB",
    "log_min_messages": "warning",
    "jit": "off",  # it needs the libraries of LLVM
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
}


class _TreeProcess(Process):
    """A process that is frozen and killed with all of its children, which serve the clients."""

    def terminate(self, seconds: float = 10.0) -> None:
        """End it with SIGINT; with SIGTERM it would wait for its clients to disconnect."""
        self._end(signal.SIGINT, seconds)

    def pause(self) -> None:
        """Freeze it first, so that it starts no child meanwhile, and then its children."""
        super().pause()
        for child in self._children():
            _send(child, signal.SIGSTOP)

    def resume(self) -> None:
        """Let all of them go on."""
        for child in self._children():
            _send(child, signal.SIGCONT)
        super().resume()

    def kill(self) -> None:
        """Kill all of them."""
        children = self._children() if self.alive else []
        super().kill()
        for child in children:
            _send(child, signal.SIGKILL)
        # The next start is refused as long as one of them has the shared memory.
        deadline = time.monotonic() + 10
        while any(_runs(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _children(self) -> list[int]:
        try:
            return [
                int(one)
                for one in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        except OSError:
            return []


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _user() -> tuple[str, int, int] | None:
    """The user that the servers run as; None for that of the tests, which is not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return name, found.pw_uid, found.pw_gid
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _as_user(command: Sequence[str]) -> list[str]:
    user = _user()
    if user is None:
        return list(command)
    return [
        "setpriv",
        f"--reuid={user[1]}",
        f"--regid={user[2]}",
        "--clear-groups",
        "--pdeathsig=KILL",
        *command,
    ]


_copies: dict[Path, Path] = {}


def _reachable(path: str, *, loader: bool = False) -> str:
    """The path, or one of a copy of its folder in the cache if that is below a home that is 0700.

    Args:
        path: in the cache.
        loader: whether the programs need the loader of their own suite, and so a copy in any case.
    """
    place = Path(path)
    is_open = _user() is None or all(part.stat().st_mode & 0o001 for part in place.parents)
    if is_open and not loader:
        return path
    home = folder() / place.relative_to(folder()).parts[0]
    if home not in _copies:
        root = Path(tempfile.mkdtemp(prefix="leadership-programs-"))
        root.chmod(0o755)
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        try:
            shutil.copytree(home, root / home.name, symlinks=True, copy_function=os.link)
        except (OSError, shutil.Error):  # on another file system
            shutil.rmtree(root / home.name, ignore_errors=True)
            shutil.copytree(home, root / home.name, symlinks=True)
        _copies[home] = root / home.name
        if loader:
            _start_by_loader(root / home.name / place.relative_to(home).parent, root / home.name)
    return str(_copies[home] / place.relative_to(home))


def _start_by_loader(programs: Path, root: Path) -> None:
    """Put a script in the place of each program, which starts it with the C library of its own suite."""
    (loader,) = root.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*")
    for program in list(programs.iterdir()):
        real = program.with_name(f"{program.name}.real")
        program.rename(real)
        # Each program finds the others, and its files, by the path that it was started with.
        program.write_text(
            f'#!/bin/sh\nexec {loader} --library-path {loader.parent} --argv0 "$0" {real} "$@"\n'
        )
        program.chmod(0o755)


def _own(path: Path) -> None:
    user = _user()
    if user is not None:
        shutil.chown(path, user[1], user[2])


class PostgresServer(LocalServer):
    """A server that keeps its port and its data while it is down.

    Args:
        server: where the programs are.
        folder: for its log and its certificates.
        tls: whether it speaks TLS; "mutual" asks for a certificate of clients.
        settings: more lines of its configuration.
        standby_of: a running server whose standby it becomes.
        clock: seconds that its wall clock is ahead at the start; see `set_clock`.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        *,
        tls: bool | str = False,
        settings: Mapping[str, str] | None = None,
        standby_of: PostgresServer | None = None,
        clock: bool = False,
    ) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.server, self.folder = server, folder
        self.user, self.password, self.database = USER, PASSWORD, DATABASE
        folder.mkdir(parents=True, exist_ok=True)
        # Not below the folder, which only the user of the tests can enter.
        self._home = Path(tempfile.mkdtemp(prefix="leadership-postgres-"))
        self._home.chmod(0o755)
        self.data = self._home / "data"
        self._bin = Path(
            _reachable(server.paths["postgres"], loader="loader" in server.paths)
        ).parent
        self._env = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
        libraries = server.paths.get("libraries")
        if libraries and "loader" not in server.paths:
            self._env["LD_LIBRARY_PATH"] = _reachable(libraries)
        self.certificates = Certificates.make(folder / "certificates") if tls else None
        self._clock = self._home / "clock" if clock else None
        faked: list[str] = []
        if self._clock is not None:
            self.set_clock(0)
            # Set only once the user is that of the server: the library's semaphore belongs to it.
            faked = [
                "env",
                f"LD_PRELOAD={_reachable(server.paths['faketime'])}",
                f"FAKETIME_TIMESTAMP_FILE={self._clock}",
                "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "FAKETIME_DISABLE_SHM=1",
            ]
        self._settings, self._tls = {**_SETTINGS, **(settings or {})}, tls
        self._make(standby_of)
        self._configure(self._settings, tls)
        command = [*faked, str(self._bin / "postgres"), "-D", str(self.data)]
        self.process = _TreeProcess(_as_user(command), folder / "log", self._env)

    def _make(self, standby_of: PostgresServer | None) -> None:
        self.data.mkdir(mode=0o700)
        _own(self.data)
        if standby_of is not None:
            self._run(
                "pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast",
                "-d", f"host={standby_of.host} port={standby_of.port} user=postgres dbname=postgres",
            )  # fmt: skip
            return
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        self._run_single(
            f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}';\n",
            f"CREATE DATABASE {DATABASE} OWNER {USER};\n",
        )

    def _run(self, program: str, *words: str, said: str = "") -> None:
        done = subprocess.run(
            _as_user([str(self._bin / program), *words]),
            input=said, env={**os.environ, **self._env}, cwd="/", text=True, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _run_single(self, *statements: str) -> None:
        for one in statements:
            self._run("postgres", "--single", "-D", str(self.data), "postgres", said=one)

    def _configure(self, settings: Mapping[str, str], tls: bool | str) -> None:
        lines = [f"{name} = '{value}'" for name, value in settings.items()]
        lines.append(f"port = {self.port}")
        if self.certificates is not None:
            for name, file in (
                ("cert", self.certificates.server_cert),
                ("key", self.certificates.server_key),
            ):
                copy = self.data / f"server.{name}"
                shutil.copy(file, copy)
                copy.chmod(0o600)
                _own(copy)
                lines.append(f"ssl_{name}_file = '{copy}'")
            shutil.copy(self.certificates.ca, self.data / "ca.pem")
            _own(self.data / "ca.pem")
            lines += ["ssl = on", f"ssl_ca_file = '{self.data / 'ca.pem'}'"]
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write("\n" + "\n".join(lines) + "\n")
        kind = "hostssl" if self.certificates else "host"
        client = " clientcert=verify-ca" if tls == "mutual" else ""
        (self.data / "pg_hba.conf").write_text(
            "host all,replication postgres 127.0.0.1/32 trust\n"
            f"{kind} all all 127.0.0.1/32 scram-sha-256{client}\n"
        )
        _own(self.data / "pg_hba.conf")

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return self.url_at(self.port)

    def url_at(self, *ports: int) -> str:
        """The same URL with other ports of the same host, such as a proxy's."""
        hosts = ",".join(f"{self.host}:{port}" for port in ports)
        scheme, query = "postgresql", ""
        if self.certificates is not None:
            scheme, query = "postgresql+tls", f"?ca={quote(str(self.certificates.ca))}"
        return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@{hosts}/{DATABASE}{query}"

    def serves(self) -> bool:
        """Whether it answers statements."""
        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.Error:
            return False

    def ask(
        self, sql: str, *parameters: object, database: str = DATABASE
    ) -> list[tuple[object, ...]]:
        """Execute a statement as the superuser; returns its rows."""
        with psycopg.connect(
            host=self.host, port=self.port, user="postgres", dbname=database, connect_timeout=5, autocommit=True,
            sslmode="disable",
        ) as link:  # fmt: skip
            found = link.execute(sql.encode(), parameters or None)
            return found.fetchall() if found.description else []

    def promote(self) -> None:
        """Make a standby the primary; returns once it takes writes."""
        self.ask("SELECT pg_promote(true, 30)", database="postgres")

    def set_clock(self, ahead: float) -> None:
        """Set the wall clock of the server; it must have been started with `clock`."""
        assert self._clock is not None
        new = self._clock.with_suffix(".new")
        new.write_text(f"{ahead:+.0f}\n")
        new.chmod(0o644)
        new.replace(self._clock)

    def make_empty(self) -> None:
        """Replace its data by those of a new server; it must not be running."""
        shutil.rmtree(self.data)
        self._make(None)
        self._configure(self._settings, self._tls)

    def remove(self) -> None:
        """Kill it and delete its data; the log is kept."""
        self.process.kill()
        shutil.rmtree(self._home, ignore_errors=True)


class PgBouncer(LocalServer):
    """A pooler in transaction mode before a server.

    Args:
        pooler: where the program is.
        folder: for its configuration and its log.
        server: what it connects to.
    """

    def __init__(self, pooler: Server, folder: Path, server: PostgresServer) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.folder, self._server = folder, server
        folder.mkdir(parents=True, exist_ok=True)
        self._home = Path(tempfile.mkdtemp(prefix="leadership-pgbouncer-"))
        self._home.chmod(0o755)
        users = self._home / "users"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        configuration = self._home / "pgbouncer.ini"
        configuration.write_text(
            "[databases]\n"
            f"{DATABASE} = host={server.host} port={server.port} dbname={DATABASE}\n"
            "[pgbouncer]\n"
            f"listen_addr = {self.host}\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\npool_mode = transaction\n"
            "default_pool_size = 3\nmax_client_conn = 200\n"
        )
        env = {}
        if libraries := pooler.paths.get("libraries"):
            env["LD_LIBRARY_PATH"] = _reachable(libraries)
        self.process = Process(
            _as_user([_reachable(pooler.paths["pgbouncer"]), str(configuration)]),
            folder / "log",
            env,
        )

    @property
    def url(self) -> str:
        """The URL that users open the store with."""
        return f"{self._server.url_at(self.port)}?pgbouncer=true&poll=0.1"

    def serves(self) -> bool:
        """Whether it answers statements."""
        try:
            with psycopg.connect(
                host=self.host, port=self.port, user=USER, password=PASSWORD, dbname=DATABASE,
                connect_timeout=5,
            ) as link:  # fmt: skip
                link.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def remove(self) -> None:
        """Kill it and delete its files; the log is kept."""
        super().remove()
        shutil.rmtree(self._home, ignore_errors=True)
