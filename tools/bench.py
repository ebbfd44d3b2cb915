"""Program of `make bench`: it starts a server of each kind, and runs `leadership bench` on all of them.

    python -m tools.bench [options of leadership bench]

Writes docs/benchmarks.md, unless figures are selected with --only or less is measured with --quick.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.support.paths import ROOT
from tests.support.servers.consul import ConsulAgent
from tests.support.servers.etcd import EtcdServer
from tests.support.servers.golang import build_go
from tests.support.servers.local import LocalServer
from tests.support.servers.process import ServerError
from tests.support.servers.provision import ProvisionError, locate
from tests.support.servers.redis import RedisServer
from tests.support.servers.zookeeper import ZooKeeperServer

__all__ = ["go_player", "started"]

_PAGE = ROOT / "docs" / "benchmarks.md"
_ETCD_CLIENT = {"go.etcd.io/etcd/client/v3": "v3.7.3"}


def go_player() -> str:
    """The path of the program that measures Go's election; built once.

    Raises:
        ProvisionError: it cannot be built.
    """
    folder = build_go(
        "bench-player", _ETCD_CLIENT, {"bench-player": ROOT / "leadership_bench" / "go"}
    )
    return str(folder / "bench-player")


@contextmanager
def started(kinds: Sequence[str]) -> Iterator[dict[str, str]]:
    """Start a server of each of these kinds on loopback; yields the URL of each.

    One that is not available is reported on stderr, and left out.
    """
    urls = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leadership-bench-")))
        for kind in kinds:
            try:
                server, url = _start(kind, folder / kind)
            except (ProvisionError, ServerError) as error:
                print(f"make bench: {kind} is left out: {error}", file=sys.stderr)
                continue
            stack.callback(server.remove)
            urls[kind] = url
        yield urls


def _start(kind: str, folder: Path) -> tuple[LocalServer, str]:
    place = locate(kind)
    server: ConsulAgent | EtcdServer | ZooKeeperServer | RedisServer
    match kind:
        case "consul":
            server = ConsulAgent(place, folder)
        case "etcd":
            server = EtcdServer(place, folder)
        case "zookeeper":
            server = ZooKeeperServer(place, folder)
        case _:
            server = RedisServer(place, folder)
    try:
        server.start()
    except ServerError:
        server.remove()
        raise
    return server, server.url


def _environment(urls: dict[str, str], plugins: str) -> dict[str, str]:
    """With the programs of the servers' releases on PATH, and the plugin for Redis for Python."""
    found = dict(os.environ)
    programs = {"etcd": "etcdctl", "consul": "consul"}
    folders = [
        str(Path(locate(kind).paths[programs[kind]]).parent) for kind in urls if kind in programs
    ]
    found["PATH"] = os.pathsep.join([*folders, found.get("PATH", "")])
    found["PYTHONPATH"] = os.pathsep.join([plugins, *filter(None, [found.get("PYTHONPATH")])])
    return found


def _install_redis_plugin(folder: str) -> bool:
    """Install the example of a plugin into a folder; it is not part of the environment."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    plugin = ROOT / "examples" / "leadership_example"
    options = ("--no-deps", "--no-build-isolation", "--target", folder)
    return subprocess.run([*pip, *options, str(plugin)], check=False).returncode == 0


def main() -> int:
    """Run the bench, and return its exit code."""
    words = sys.argv[1:]
    is_whole = not any(
        word.partition("=")[0] in {"--only", "--quick", "--report"} for word in words
    )
    options = [*words, *(["--report", str(_PAGE)] if is_whole else [])]
    try:
        options += ["--go-player", go_player()]
    except ProvisionError as error:
        print(f"make bench: Go's election is left out: {error}", file=sys.stderr)
    with ExitStack() as stack:
        plugins = stack.enter_context(tempfile.TemporaryDirectory(prefix="leadership-bench-"))
        kinds = ["etcd", "zookeeper", "consul"]
        if _install_redis_plugin(plugins):
            kinds.append("redis")
        urls = stack.enter_context(started(kinds))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="leadership-bench-"))
        file = f"sqlite:///{quote(str(Path(folder, 'bench.db')))}"
        command = [sys.executable, "-m", "leadership_core", "bench", *urls.values(), file, *options]
        process = subprocess.Popen(command, env=_environment(urls, plugins), cwd=ROOT)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it has had the signal, too, and cleans up while the servers still run


if __name__ == "__main__":
    sys.exit(main())
