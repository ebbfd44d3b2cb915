"""Tell the meta-distribution `leadership` where its parts are.

* In a checkout they are the folders beside this file, so that plain ``pip install '.[consul]'`` works
  before anything is published.
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

# Where pip and uv put them.
_TEMPORARY_CLONE = re.compile(r"/pip-(install|req-build)-[^/]+(/|$)|/git-v\d+/checkouts/")
_LIKE_SCP = re.compile(r"([\w.-]+@[\w.-]+):([^/].*)")

BACKENDS = ("consul", "etcd", "zookeeper")


class PartsHook(MetadataHookInterface):
    """Writes the dependencies and the extras, from the folders that are there."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the dynamic fields of the project's metadata."""
        # A backend that does not exist yet has no extra: naming it by version would make pip
        # install whatever somebody else publishes under that name.
        backends = [name for name in BACKENDS if self._folder(name).is_dir()]
        extras = {name: [self._part(name, metadata)] for name in backends}
        extras["all"] = [self._part(name, metadata) for name in backends]
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
        """The repository and commit, if this is a clone that its installer will delete."""
        if not _TEMPORARY_CLONE.search(Path(self.root).as_posix()):
            return None
        url, commit = self._git("config", "remote.origin.url"), self._git("rev-parse", "HEAD")
        if scp := _LIKE_SCP.fullmatch(url):
            url = f"ssh://{scp[1]}/{scp[2]}"
        # Before pip 24.1 a requirement's URL needs a host.
        url = re.sub("^file:///", "file://localhost/", url)
        # A password or token in the URL must not get into the metadata of what is installed.
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
