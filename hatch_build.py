"""Tell the meta-distribution `leadership` where its parts are.

In a checkout they are the folders beside this file, so that plain ``pip install '.[consul]'``
works before anything is published. A release (``LEADERSHIP_RELEASE=1``) names them by version
instead; a release that was built without the variable does no harm, because a package index
refuses metadata with ``file:`` references.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

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
        if os.environ.get("LEADERSHIP_RELEASE"):
            return f"leadership-{name}=={metadata['version']}"
        return f"leadership-{name} @ {self._folder(name).as_uri()}"

    def _folder(self, name: str) -> Path:
        return Path(self.root, f"leadership_{name}")
