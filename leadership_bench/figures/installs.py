"""Figure: what an installation takes: distributions and bytes, as pip has installed them here."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from ..results import OURS
from ..run import Run

__all__ = ["measure"]

_OURS = {
    "core": "leadership-core",
    "with Consul": "leadership-consul",
    "with etcd": "leadership-etcd",
    "with ZooKeeper": "leadership-zookeeper",
    "with PostgreSQL": "leadership-postgres",
    "with Redis": "leadership-redis",
    "with Kubernetes": "leadership-kubernetes",
}
_PEERS = ("kazoo", "etcd3", "etcd3gw", "tooz", "grelmicro", "redis", "psycopg", "py-consul")


def measure(run: Run) -> None:
    """Add up each distribution with all that it requires."""
    for case, name in _OURS.items():
        _add(run, case, OURS, name)
    for name in _PEERS:
        _add(run, name, name, name)


def _add(run: Run, case: str, contender: str, name: str) -> None:
    found = _with_requirements(name)
    if not found:
        return
    run.results.add("install", "", f"{case}: distributions", contender, "", [len(found)])
    size = sum(map(_size, found.values())) / 1e6
    run.results.add("install", "", f"{case}: size", contender, "MB", [round(size, 2)])


def _with_requirements(name: str) -> dict[str, Distribution]:
    """The distribution and all that it requires on this machine, without extras."""
    found: dict[str, Distribution] = {}
    missing = [name]
    while missing:
        wanted = re.sub(r"[-_.]+", "-", missing.pop()).lower()
        if wanted in found:
            continue
        try:
            found[wanted] = distribution(wanted)
        except PackageNotFoundError:
            continue  # of another platform or Python
        for requirement in found[wanted].requires or ():
            if "extra ==" not in requirement:
                match = re.match(r"[\w.-]+", requirement)
                assert match is not None
                missing.append(match[0])
    return found


def _size(one: Distribution) -> int:
    files = [Path(str(one.locate_file(file))) for file in one.files or ()]
    if one.name.startswith("leadership-"):  # an editable install has no other files
        spec = importlib.util.find_spec(one.name.replace("-", "_"))
        if spec is not None and spec.submodule_search_locations:
            folder = Path(spec.submodule_search_locations[0])
            files = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return sum(
        path.stat().st_size
        for path in files
        if path.suffix not in {".pyc", ".dist-info"} and path.is_file()
    )
