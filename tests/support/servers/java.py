"""Java programs of the tests, compiled from sources beside them and from Maven's artifacts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.apt import ProvisionError
from tests.support.servers.cache import cached
from tests.support.servers.sources import Debian, Maven

__all__ = ["JavaProgram", "java"]

_RUNTIME = "openjdk-17-jre-headless"
_BIN = "usr/lib/jvm/java-17-openjdk-*/bin"
_JRE = Debian("bullseye", (_RUNTIME,), {"java": f"{_BIN}/java"})
_JDK = Debian("bullseye", (_RUNTIME, "openjdk-17-jdk-headless"), {"javac": f"{_BIN}/javac"})


def java(*, offline: bool = False) -> str:
    """The command `java`: that on PATH, or that of Debian.

    Raises:
        ProvisionError: it is not available.
    """
    return shutil.which("java") or _JRE.paths("java", offline=offline)["java"]


@dataclass(frozen=True)
class JavaProgram:
    """A program that is compiled once, into the cache.

    Attributes:
        libraries: what it is compiled and run with.
        folder: with its sources.
    """

    libraries: Maven
    folder: Path

    def paths(self, name: str, *, offline: bool) -> dict[str, str]:
        """The paths of `java`, and the `classpath`; see `Source`."""
        runtime = java(offline=offline)
        if not offline and not self.libraries.is_available(f"{name}-libraries"):
            raise ProvisionError(f"the libraries of {name} come from Maven: install mvn")
        jars = f"{self.libraries.paths(f'{name}-libraries', offline=offline)['jars']}/*"
        sources = sorted(self.folder.glob("*.java"))
        plan = [*self.libraries.artifacts, *map(_identity, sources)]

        def compile_into(tree: Path) -> list[str]:
            javac = shutil.which("javac") or _JDK.paths("jdk", offline=offline)["javac"]
            # Without the option it warns of sun.misc.Signal, the only way to handle a signal.
            command = [javac, "-XDignore.symbol.file", "-cp", jars, "-d", str(tree)]
            done = subprocess.run(
                [*command, *map(str, sources)],
                text=True,
                capture_output=True,
                timeout=600,
                check=False,
            )
            if done.returncode:
                raise ProvisionError(f"javac failed: {(done.stdout + done.stderr)[-2000:]}")
            return [source.name for source in sources]

        classes = cached(name, plan, compile_into, offline=offline)
        return {"java": runtime, "classpath": os.pathsep.join((str(classes), jars))}


def _identity(source: Path) -> str:
    return f"{source.name} {hashlib.sha256(source.read_bytes()).hexdigest()}"
