"""Find or fetch the servers that the tests start: Consul, etcd (two releases) and ZooKeeper.

A server on PATH is used as it is. Otherwise it is unpacked once from packages of a Debian
release into a cache, $LEADERSHIP_SERVERS or ~/.cache/leadership-servers.

    python -m tests.servers.provision [consul] [etcd] [etcd34] [zookeeper] [--offline]
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
from pathlib import Path

from tests.servers.apt import ProvisionError, unpack
from tests.servers.cache import cached

__all__ = ["ProvisionError", "Server", "locate"]


@dataclass(frozen=True)
class Server:
    """Where a server is: its version, and a path for each thing one needs to start it."""

    version: str
    paths: dict[str, str]

    @property
    def release(self) -> tuple[int, ...]:
        """The numbers at the beginning of the version, for comparing."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:2])


@dataclass(frozen=True)
class Bundle:
    """Debian packages that are unpacked together, and the paths wanted from them."""

    suite: str
    packages: tuple[str, ...]
    wanted: dict[str, str]


# Consul left Debian after bullseye; etcd 3.5 and ZooKeeper 3.9 came with trixie. All of it
# runs on glibc 2.34 and later. Both releases are closed, so that their indexes do not expire.
BUNDLES = {
    "consul": Bundle("bullseye", ("consul",), {"consul": "usr/bin/consul"}),
    "etcd": Bundle(
        "trixie",
        ("etcd-server", "etcd-client"),
        {"etcd": "usr/bin/etcd", "etcdctl": "usr/bin/etcdctl"},
    ),
    "etcd34": Bundle(
        "bookworm",
        ("etcd-server", "etcd-client"),
        {"etcd": "usr/bin/etcd", "etcdctl": "usr/bin/etcdctl"},
    ),
    "zookeeper": Bundle(
        "trixie",
        (
            "libzookeeper-java",
            "libslf4j-java",
            "libdropwizard-metrics-java",
            "libsnappy-java",
            "libnetty-java",
            "libcommons-io-java",
        ),
        {"jars": "usr/share/java"},
    ),
    "java": Bundle(
        "bullseye", ("openjdk-17-jre-headless",), {"java": "usr/lib/jvm/java-17-openjdk-*/bin/java"}
    ),
    # For the example plugin; with the libraries that a Debian without Redis may not have.
    "redis": Bundle(
        "bookworm",
        ("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "libssl3"),
        {"redis": "usr/bin/redis-server", "libraries": "usr/lib/*-linux-gnu"},
    ),
}

# What a ZooKeeper server loads; its manifest's own class path names absolute system paths.
ZOOKEEPER_JARS = (
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
    """Find a server, fetching it if it is not there.

    Raises:
        ProvisionError: it is not to be had; the message says why.
    """
    try:
        return SERVERS[name](offline)
    except (OSError, subprocess.SubprocessError) as error:
        raise ProvisionError(f"{type(error).__name__}: {error}") from error


def _consul(offline: bool) -> Server:
    path = shutil.which("consul") or _cached("consul", offline)["consul"]
    return Server(_version(path, "version"), {"consul": path})


def _etcd(offline: bool) -> Server:
    etcd, etcdctl = shutil.which("etcd"), shutil.which("etcdctl")
    paths = {"etcd": etcd, "etcdctl": etcdctl} if etcd and etcdctl else _cached("etcd", offline)
    return Server(_version(paths["etcd"], "--version"), paths)


def _etcd34(offline: bool) -> Server:
    # Never from PATH: it is the older release that is wanted, beside whatever is there.
    paths = _cached("etcd34", offline)
    return Server(_version(paths["etcd"], "--version"), paths)


def _zookeeper(offline: bool) -> Server:
    java = shutil.which("java") or _cached("java", offline)["java"]
    jars = os.environ.get("ZOOKEEPER_JARS") or _cached("zookeeper", offline)["jars"]
    numbers = (re.fullmatch(r"zookeeper-(\d[\d.]*)\.jar", jar.name) for jar in Path(jars).iterdir())
    version = next((found[1] for found in numbers if found), "unknown")
    classpath = os.pathsep.join(str(Path(jars, f"{name}.jar")) for name in ZOOKEEPER_JARS)
    return Server(version, {"java": java, "classpath": classpath})


def _redis(offline: bool) -> Server:
    path = shutil.which("redis-server")
    if path is not None:
        return Server(_version(path, "--version"), {"redis": path})
    paths = _cached("redis", offline)
    loaded = {**os.environ, "LD_LIBRARY_PATH": paths["libraries"]}
    return Server(_version(paths["redis"], "--version", env=loaded), paths)


SERVERS: dict[str, Callable[[bool], Server]] = {
    "consul": _consul,
    "etcd": _etcd,
    "etcd34": _etcd34,
    "zookeeper": _zookeeper,
    "redis": _redis,
}


def _version(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True, env=env)
    match = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return match[0] if match else "unknown"


# -- the cache ----------------------------------------------------------------------------


def _cached(name: str, offline: bool) -> dict[str, str]:
    """The paths of a bundle in the cache, which is filled if they are not there."""
    bundle = BUNDLES[name]

    def fill(tree: Path) -> list[str]:
        if not shutil.which("apt-get"):
            raise ProvisionError(f"there is no apt here: install {name} and put it on PATH")
        archives = unpack(bundle.suite, bundle.packages, tree)
        _make_links_local(tree)
        return archives

    home = cached(name, [bundle.suite, *bundle.packages], fill, offline=offline)
    found = {}
    for key, pattern in bundle.wanted.items():
        match = next(iter(sorted(home.glob(pattern))), None)
        if match is None:
            raise ProvisionError(f"{home} holds no {pattern}: delete that folder and try again")
        found[key] = str(match)
    return found


def _make_links_local(tree: Path) -> None:
    """Point absolute links, as from a Java's lib to its /etc, at the same place inside tree."""
    for folder, names, files in os.walk(tree):
        for link in (Path(folder, name) for name in names + files):
            if link.is_symlink() and link.readlink().is_absolute():
                inside = tree / str(link.readlink()).lstrip("/")
                if inside.exists():
                    link.unlink()
                    link.symlink_to(os.path.relpath(inside, link.parent))


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
