"""Metadata hook of the meta-distribution `leadership`: the locations of its parts.

* In a checkout they are the folders beside this file, so that plain ``pip install '.[consul]'`` works
  before the first release.
* In the temporary clone of ``pip install 'leadership[consul] @ git+https://...'`` they are folders of that
  repository at that commit: the clone is deleted afterwards, and its path would stay in what `pip freeze` prints.
* In a release (``LEADERSHIP_RELEASE=1``), and in the source distribution of one, they are names and versions. A
  release that was built without the variable does no harm, because a package index refuses metadata with
  references to files.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# The folders that pip and uv use.
_TEMPORARY_CLONE = re.compile(r"/pip-(install|req-build)-[^/]+(/|$)|/git-v\d+/checkouts/")
_LIKE_SCP = re.compile(r"([\w.-]+@[\w.-]+):([^/].*)")

BACKENDS = ("consul", "etcd", "kubernetes", "postgres", "redis", "zookeeper")
OBSERVERS = ("prometheus", "opentelemetry")
TOOLS = ("bench",)
ALIASES = {"otel": "opentelemetry"}


class PartsHook(MetadataHookInterface):
    """Writes the dependencies and the extras for the present folders."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the dynamic fields of the project's metadata."""
        # A part without a folder has no extra: by version, pip would install a distribution of
        # that name from an index, which may be another project.
        there = [name for name in BACKENDS + OBSERVERS + TOOLS if self._folder(name).is_dir()]
        parts = [name for name in there if name not in TOOLS]
        extras = {name: [self._part(name, metadata)] for name in there}
        extras |= {alias: extras[name] for alias, name in ALIASES.items() if name in extras}
        extras["all"] = [self._part(name, metadata) for name in parts]
        metadata["dependencies"] = [self._part("core", metadata)]
        metadata["optional-dependencies"] = extras | self.config["extras"]

    def _part(self, name: str, metadata: dict[str, Any]) -> str:
        if os.environ.get("LEADERSHIP_RELEASE") or Path(self.root, "PKG-INFO").exists():
            return f"leadership-{name}=={metadata['version']}"
        repository = self._repository()
        if repository:
            return f"leadership-{name} @ {repository}#subdirectory=leadership_{name}"
        return f"leadership-{name} @ {self._folder(name).as_uri()}"

    def _repository(self) -> str | None:
        """The repository and commit, if this is a temporary clone of an installer."""
        if not _TEMPORARY_CLONE.search(Path(self.root).as_posix()):
            return None
        url, commit = self._git("config", "remote.origin.url"), self._git("rev-parse", "HEAD")
        if scp := _LIKE_SCP.fullmatch(url):
            url = f"ssh://{scp[1]}/{scp[2]}"
        # Before pip 24.1 a requirement's URL needs a host.
        url = re.sub("^file:///", "file://localhost/", url)
        # A password or token in the URL must not get into the installed metadata.
        if not commit or "://" not in url or re.search("://[^/@]*:[^/@]*@", url):
            return None
        return f"git+{url}@{commit}"

    def _git(self, *words: str) -> str:
        command = ["git", "-C", self.root, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()

    def _folder(self, name: str) -> Path:
        return Path(self.root, f"leadership_{name}")
