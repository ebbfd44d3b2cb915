"""How the distribution of a backend is installed, given how the core was."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["how_to_install"]


def how_to_install(part: str) -> str:
    """Return the command that installs a backend from where the core came from.

    Nothing but that place is named: on a public index the name may belong to another project.

    Args:
        part: of a name such as `leadership-consul`, what follows the hyphen.
    """
    # Imported here because it would be a third of the time that importing the core takes.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        core = distribution("leadership-core")
    except PackageNotFoundError:
        return f"put the folder leadership_{part} beside leadership_core, with what it depends on"
    origin = _parsed(core.read_text("direct_url.json"))
    return (
        _from_folder(part, origin)
        or _from_repository(part, origin)
        or f"pip install leadership-{part}=={core.version}, from the index or the folder of wheels that"
        f" leadership-core {core.version} was installed from"
    )


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        origin = json.loads(text or "{}")
    except ValueError:
        origin = None
    return origin if isinstance(origin, dict) else {}


def _from_folder(part: str, origin: dict[str, Any]) -> str | None:
    if "dir_info" not in origin:
        return None
    core = Path(unquote(urlsplit(str(origin.get("url"))).path))
    folder = core.with_name(f"leadership_{part}")
    return f"pip install {shlex.quote(str(folder))}" if folder.is_dir() else None


def _from_repository(part: str, origin: dict[str, Any]) -> str | None:
    version = origin.get("vcs_info")
    if not isinstance(version, dict) or not version.get("commit_id"):
        return None
    where = f"{version.get('vcs')}+{origin.get('url')}@{version['commit_id']}"
    requirement = f"leadership-{part} @ {where}#subdirectory=leadership_{part}"
    return f"pip install {shlex.quote(requirement)}"
