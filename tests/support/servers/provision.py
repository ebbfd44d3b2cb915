"""Find or fetch what the tests start: all rows of `releases`, Redis, Curator, Prometheus, Chromium and shells.

A Consul or an etcd on PATH replaces the newest row of its kind, where tests ask for the kind.
All else is got once into a cache, $LEADERSHIP_SERVERS or ~/.cache/leadership-servers.

    python -m tests.support.servers.provision [consul] [etcd-3.4.23] [redis] ... [--offline]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.servers.apt import ProvisionError
from tests.support.servers.java import JavaProgram, java
from tests.support.servers.releases import KINDS, RELEASES, default, named, on_path
from tests.support.servers.sources import Debian, GoModules, Maven

__all__ = ["SERVERS", "ProvisionError", "Server", "locate"]


@dataclass(frozen=True)
class Server:
    """Where a server is: its version, and a path for each thing one needs to start it."""

    version: str
    paths: dict[str, str]

    @property
    def release(self) -> tuple[int, ...]:
        """The numbers at the beginning of the version, for comparing."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:2])


# Candidates with Curator's recipes, the other clients of ZooKeeper's elections.
_CURATOR = JavaProgram(
    Maven(
        ("org.apache.curator:curator-recipes:5.9.0", "org.slf4j:slf4j-simple:1.7.25"),
        ("io.netty:netty-tcnative-boringssl-static",),
    ),
    Path(__file__).parents[1] / "curator",
)
# With the libraries that a Debian without Redis may not have.
_REDIS = Debian(
    "bookworm",
    ("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "libssl3"),
    {"redis": "usr/bin/redis-server", "libraries": "usr/lib/*-linux-gnu"},
)
# Valkey, with all libraries and the loader of its own suite, whose C library may be newer than ours.
_VALKEY = Debian(
    "trixie",
    ("valkey-server", "valkey-tools", "libc6"),
    {
        "redis": "usr/bin/valkey-server",
        "libraries": "usr/lib/*-linux-gnu",
        "loader": "usr/lib/*-linux-gnu/ld-linux-*.so.*",
    },
    dependencies=r"lib(?!c-)[\w.+-]+",
)
# A pooler before PostgreSQL, and the clock that a PostgreSQL has instead of the machine's.
_PGBOUNCER = Debian(
    "bookworm",
    ("pgbouncer", "libevent-2.1-7", "libc-ares2"),
    {"pgbouncer": "usr/sbin/pgbouncer", "libraries": "usr/lib/*-linux-gnu"},
)
_FAKETIME = Debian(
    "bookworm", ("libfaketime",), {"faketime": "usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1"}
)
# For the rules of docs/monitoring.md.
_PROMETHEUS = Debian(
    "bookworm",
    ("prometheus",),
    {"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"},
)

# The API server of Kubernetes, which the tests run beside an etcd.
_KUBERNETES = "k8s.io/kubernetes"
_KUBE_APISERVER = GoModules(
    {_KUBERNETES: "v1.37.2"},
    {"kube-apiserver": f"{_KUBERNETES}/cmd/kube-apiserver"},
    unversioned="v0.37.2",
)

# A candidate of client-go's `leaderelection`.
_CLIENT_GO = "v0.37.2"
_LEADERELECTION = GoModules(
    {"k8s.io/client-go": _CLIENT_GO, "k8s.io/apimachinery": _CLIENT_GO},
    {"leaderelection": Path(__file__).parents[1] / "leaderelection"},
)

# The browser of the status page's tests, with its libraries except the C library, which belongs to
# the loader of the machine.
_CHROMIUM = Debian(
    "bookworm",
    ("chromium", "chromium-driver", "chromium-common", "fonts-dejavu-core", "fontconfig-config"),
    {
        "chromium": "usr/lib/chromium/chromium",
        "chromedriver": "usr/bin/chromedriver",
        "fonts": "etc/fonts",
    },
    dependencies=r"lib(?!c6$|c-|llvm|gl1-mesa-dri|pam|perl|[\w-]+-perl$)[\w.+-]+",
)

# The shells whose completion is tested, and bash is everywhere.
_SHELLS = {
    "zsh": Debian(
        "bookworm",
        ("zsh", "zsh-common"),
        {
            "zsh": "bin/zsh",
            "modules": "usr/lib/*-linux-gnu/zsh/*",
            "functions": "usr/share/zsh/functions",
        },
    ),
    "fish": Debian(
        "bookworm",
        ("fish", "fish-common", "libpcre2-32-0"),
        {"fish": "usr/bin/fish", "libraries": "usr/lib/*-linux-gnu"},
    ),
}

# What a ZooKeeper server of Debian loads; its manifest's own class path names absolute system paths.
_ZOOKEEPER_JARS = (
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "metrics-core",
    "snappy-java",
    # and for TLS:
    "commons-io",
    "netty-buffer",
    "netty-codec",
    "netty-common",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-epoll",
    "netty-transport-native-unix-common",
)


def locate(name: str, *, offline: bool = False) -> Server:
    """Find a server by its kind or by the name of its row, fetching it if it is not there.

    Raises:
        ProvisionError: it is not available; the message says why.
    """
    try:
        return SERVERS[name](offline)
    except (OSError, subprocess.SubprocessError) as error:
        raise ProvisionError(f"{type(error).__name__}: {error}") from error


def _default(kind: str, offline: bool) -> Server:
    row = default(kind)
    if row is not None:
        return _row(row.name, offline)
    return _server(kind, on_path(kind), offline)


def _row(name: str, offline: bool) -> Server:
    row = named(name)
    server = _server(row.kind, row.source.paths(name, offline=offline), offline)
    # A suite that is not closed could move on; the table would be wrong then.
    if not re.match(rf"{re.escape(row.version)}(?!\d)", server.version):
        raise ProvisionError(f"{name} turned out to be {server.version}: mend the table")
    return server


def _server(kind: str, paths: dict[str, str], offline: bool) -> Server:
    if kind == "postgres":
        return _postgres(paths, offline)
    if kind != "zookeeper":
        return Server(_version(paths[kind], *_VERSION_OF[kind]), paths)
    jars = Path(paths["jars"])
    numbers = (re.fullmatch(r"zookeeper-(\d[\d.]*)\.jar", jar.name) for jar in jars.iterdir())
    version = next((found[1] for found in numbers if found), "unknown")
    # Where Debian has them, there are those of everything else, too.
    wanted = _ZOOKEEPER_JARS if (jars / "zookeeper.jar").exists() else ("*",)
    names = [f"{name}.jar" if name != "*" else name for name in wanted]
    classpath = os.pathsep.join(str(jars / name) for name in names)
    return Server(version, {"java": java(offline=offline), "classpath": classpath})


def _curator(offline: bool) -> Server:
    version = _CURATOR.libraries.artifacts[0].rpartition(":")[2]
    return Server(version, _CURATOR.paths("curator", offline=offline))


def _postgres(paths: dict[str, str], offline: bool) -> Server:
    clock = _FAKETIME.paths("faketime", offline=offline)
    if "loader" in paths:
        start = (paths["loader"], "--library-path", paths["libraries"], paths["postgres"])
        return Server(_version(*start, "--version"), {**paths, **clock})
    loaded = {**os.environ, "LD_LIBRARY_PATH": paths["libraries"]}
    return Server(_version(paths["postgres"], "--version", env=loaded), {**paths, **clock})


def _pgbouncer(offline: bool) -> Server:
    paths = _PGBOUNCER.paths("pgbouncer", offline=offline)
    loaded = {**os.environ, "LD_LIBRARY_PATH": paths["libraries"]}
    return Server(_version(paths["pgbouncer"], "--version", env=loaded), paths)


def _redis(offline: bool) -> Server:
    path = shutil.which("redis-server")
    if path is not None:
        return Server(_version(path, "--version"), {"redis": path})
    paths = _REDIS.paths("redis", offline=offline)
    loaded = {**os.environ, "LD_LIBRARY_PATH": paths["libraries"]}
    return Server(_version(paths["redis"], "--version", env=loaded), paths)


def _valkey(offline: bool) -> Server:
    path = shutil.which("valkey-server")
    if path is not None:
        return Server(_version(path, "--version"), {"redis": path})
    paths = _VALKEY.paths("valkey", offline=offline)
    start = (paths["loader"], "--library-path", paths["libraries"], paths["redis"])
    return Server(_version(*start, "--version"), paths)


def _prometheus(offline: bool) -> Server:
    paths = _PROMETHEUS.paths("prometheus", offline=offline)
    return Server(_version(paths["prometheus"], "--version"), paths)


def _chromium(offline: bool) -> Server:
    here = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    found = {name: path for name, path in here.items() if path is not None}
    if len(found) == len(here):
        return Server(_version(found["chromium"], "--version"), found)
    paths = _CHROMIUM.paths("chromium", offline=offline)
    root = Path(paths["fonts"]).parents[1]
    folders = ("lib/*-linux-gnu", "usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/pulseaudio")
    libraries = [str(path) for pattern in folders for path in root.glob(pattern)]
    paths["libraries"] = os.pathsep.join(libraries)
    loaded = {**os.environ, "LD_LIBRARY_PATH": paths["libraries"]}
    return Server(_version(paths["chromium"], "--version", env=loaded), paths)


def _shell(name: str, offline: bool) -> Server:
    path = shutil.which(name)
    paths = {name: path} if path else _SHELLS[name].paths(name, offline=offline)
    loaded = {**os.environ, "LD_LIBRARY_PATH": paths.get("libraries", "")}
    return Server(_version(paths[name], "--version", env=loaded), paths)


def _kubernetes(offline: bool) -> Server:
    version = _KUBE_APISERVER.requirements[_KUBERNETES]
    paths = _KUBE_APISERVER.paths(f"kube-apiserver-{version.lstrip('v')}", offline=offline)
    # A program that is built from modules knows nothing of its version.
    return Server(version.lstrip("v"), paths)


def _leaderelection(offline: bool) -> Server:
    version = _CLIENT_GO.lstrip("v")
    return Server(version, _LEADERELECTION.paths(f"leaderelection-{version}", offline=offline))


_VERSION_OF = {"consul": ("version",), "etcd": ("--version",)}

SERVERS: dict[str, Callable[[bool], Server]] = {
    **{kind: partial(_default, kind) for kind in KINDS},
    **{row.name: partial(_row, row.name) for row in RELEASES},
    "pgbouncer": _pgbouncer,
    "redis": _redis,
    "valkey": _valkey,
    "kubernetes": _kubernetes,
    "curator": _curator,
    "leaderelection": _leaderelection,
    "prometheus": _prometheus,
    "chromium": _chromium,
    **{name: partial(_shell, name) for name in _SHELLS},
}


def _version(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True, env=env)
    match = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return match[0] if match else "unknown"


def main() -> int:
    """Get the servers named on the command line, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("server", nargs="*", help=f"of {', '.join(SERVERS)}; all if none is named")
    parser.add_argument("--offline", action="store_true", help="never download anything")
    options = parser.parse_args()
    if unknown := set(options.server) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    failed = 0
    for name in options.server or SERVERS:
        try:
            print(f"{name} {locate(name, offline=options.offline).version}", flush=True)
        except ProvisionError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
