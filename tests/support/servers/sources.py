"""Sources of server releases: Debian packages, Go modules, and Maven."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.servers.apt import ProvisionError, unpack
from tests.support.servers.cache import cached, folder
from tests.support.servers.golang import build_go

__all__ = ["Debian", "GoModules", "Maven", "Source"]


class Source(Protocol):
    """Fetches a release into the cache, once."""

    def paths(self, name: str, *, offline: bool) -> dict[str, str]:
        """The path of each thing that is wanted of it, in the folder of that name in the cache.

        Raises:
            ProvisionError: it cannot be had.
        """


@dataclass(frozen=True)
class Debian:
    """Packages of a Debian suite, unpacked together, with the paths needed from them.

    Attributes:
        suite: the name of the release.
        packages: their names.
        wanted: a glob pattern for each path.
        dependencies: a regular expression: of all that the packages depend on, those that match it
            are unpacked, too.
    """

    suite: str
    packages: tuple[str, ...]
    wanted: Mapping[str, str]
    dependencies: str = ""

    def paths(self, name: str, *, offline: bool) -> dict[str, str]:
        """See `Source`."""

        def fill(tree: Path) -> list[str]:
            if not shutil.which("apt-get"):
                raise ProvisionError(f"{name} comes from Debian packages, and there is no apt here")
            archives = unpack(self.suite, self.packages, tree, dependencies=self.dependencies)
            _make_links_local(tree)
            return archives

        plan = [self.suite, *self.packages, *([self.dependencies] if self.dependencies else [])]
        home = cached(name, plan, fill, offline=offline)
        found = {}
        for key, pattern in self.wanted.items():
            match = next(iter(sorted(home.glob(pattern))), None)
            if match is None:
                raise ProvisionError(f"{home} holds no {pattern}: delete that folder and try again")
            found[key] = str(match)
        return found


@dataclass(frozen=True)
class GoModules:
    """Programs that are built from Go modules; see `build_go`."""

    requirements: Mapping[str, str]
    programs: Mapping[str, str | Path]
    unversioned: str = ""

    def paths(self, name: str, *, offline: bool) -> dict[str, str]:
        """See `Source`."""
        home = build_go(
            name,
            self.requirements,
            self.programs,
            unversioned=self.unversioned,
            offline=offline,
        )
        return {binary: str(home / binary) for binary in self.programs}


@dataclass(frozen=True)
class Maven:
    """A class path fetched by Maven; needs the command `mvn`.

    Attributes:
        artifacts: ``group:artifact:version``, each; with all that they depend on.
        without: ``group:artifact`` of what is left out of that.
    """

    artifacts: tuple[str, ...]
    without: tuple[str, ...] = field(default=())

    def paths(self, name: str, *, offline: bool) -> dict[str, str]:
        """See `Source`."""
        return {"jars": str(cached(name, self._plan, self._fill, offline=offline) / "jars")}

    def is_available(self, name: str) -> bool:
        """Whether Maven is installed, or the artifacts are in the cache."""
        return shutil.which("mvn") is not None or (folder() / name).is_dir()

    @property
    def _plan(self) -> list[str]:
        return [*self.artifacts, *(f"!{one}" for one in self.without)]

    def _fill(self, tree: Path) -> list[str]:
        project = tree.parent / "project"
        project.mkdir()
        (project / "pom.xml").write_text(self._pom())
        command = [
            "mvn",
            "--quiet",
            "--batch-mode",
            f"-Dmaven.repo.local={tree.parent / 'repository'}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={tree / 'jars'}",
            "-DincludeScope=runtime",
        ]
        done = subprocess.run(
            command, cwd=project, text=True, capture_output=True, timeout=1800, check=False
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise ProvisionError(f"mvn failed ({done.returncode}): {said}")
        return sorted(jar.name for jar in (tree / "jars").iterdir())

    def _pom(self) -> str:
        excluded = "".join(f"<exclusion>{_named(one)}</exclusion>" for one in self.without)
        dependencies = "".join(
            f"<dependency>{_named(one)}<exclusions>{excluded}</exclusions></dependency>"
            for one in self.artifacts
        )
        own = _named("leadership.test:servers:1")
        return (
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            f"{own}<dependencies>{dependencies}</dependencies></project>"
        )


def _named(artifact: str) -> str:
    tags = ("groupId", "artifactId", "version")
    return "".join(
        f"<{tag}>{part}</{tag}>" for tag, part in zip(tags, artifact.split(":"), strict=False)
    )


def _make_links_local(tree: Path) -> None:
    """Point absolute links, as from a Java's lib to its /etc, at the same place inside tree."""
    for place, names, files in os.walk(tree):
        for link in (Path(place, name) for name in names + files):
            if link.is_symlink() and link.readlink().is_absolute():
                inside = tree / str(link.readlink()).lstrip("/")
                if inside.exists():
                    link.unlink()
                    link.symlink_to(os.path.relpath(inside, link.parent))
