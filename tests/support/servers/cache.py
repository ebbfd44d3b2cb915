"""Cache of the test servers' files; each folder is filled once, under a lock, atomically."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.servers.apt import ProvisionError

__all__ = ["cached", "folder"]


def folder() -> Path:
    """The cache: $LEADERSHIP_SERVERS or ~/.cache/leadership-servers."""
    named = os.environ.get("LEADERSHIP_SERVERS")
    return Path(named or "~/.cache/leadership-servers").expanduser().resolve()


def cached(
    name: str, plan: list[str], fill: Callable[[Path], list[str]], *, offline: bool = False
) -> Path:
    """A folder of the cache, filled if it is missing or was filled by another plan.

    It is filled beside its place and moved there, so that no half of it is ever seen. Several
    processes may ask at the same time; one of them fills it, the others wait.

    Args:
        name: of the folder.
        plan: what it is made of; another plan fills it again.
        fill: puts everything into the empty folder it is given, and returns what it has used.
        offline: never fill it.

    Raises:
        ProvisionError: it is not there and cannot be filled.
    """
    cache = folder()
    home = cache / name
    if _is_filled(home, plan):  # without the lock, which is held for minutes while others build
        return home
    if offline:
        raise ProvisionError(f"it is not in {cache}, and --offline forbids getting it")
    with _locked(cache, name):
        if not _is_filled(home, plan):
            print(f"getting {name}, which may take minutes", file=sys.stderr, flush=True)
            _fill(home, plan, fill)
    return home


def _is_filled(home: Path, plan: list[str]) -> bool:
    try:
        found: object = json.loads((home / "bundle.json").read_text())["plan"]
    except FileNotFoundError:
        return False
    return found == plan


def _fill(home: Path, plan: list[str], fill: Callable[[Path], list[str]]) -> None:
    # With a name of its own, so that what a run that was killed has left is cleared away here.
    scratch = home.with_name(f".{home.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    tree = scratch / "tree"
    tree.mkdir(parents=True)
    try:
        scratch.chmod(0o755)  # so that apt can work as its own user in there
        used = fill(tree)
        (tree / "bundle.json").write_text(json.dumps({"plan": plan, "archives": used}))
        shutil.rmtree(home, ignore_errors=True)
        tree.rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    """Prevent concurrent test runs from filling the same folder."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".lock-{name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
