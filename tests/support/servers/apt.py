"""Debian packages of another release, unpacked into a folder without installing anything.

apt does the work with a configuration of its own: the mirror and the keys are the machine's, the
lists, the cache and the state are not, and every check of signatures stays on. It needs no root.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ProvisionError", "unpack"]


class ProvisionError(Exception):
    """A server is not installed and cannot be fetched."""


def unpack(
    suite: str, packages: tuple[str, ...], into: Path, *, dependencies: str = ""
) -> list[str]:
    """Download packages of a Debian suite and unpack them into a folder; returns their names.

    Args:
        suite: the name of the release.
        packages: their names.
        into: the folder.
        dependencies: a regular expression: of all that the packages depend on, those that match it
            are unpacked, too.
    """
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".apt-") as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        options = _options(root, suite)
        _run("apt-get", *options, "update")
        if "Trusted: yes" not in _run("apt-get", *options, "indextargets", "Identifier: Packages"):
            raise ProvisionError(f"apt does not trust the index of {suite}")
        wanted = dict.fromkeys(packages)
        if dependencies:
            said = _run("apt-get", *options, "-s", "--no-install-recommends", "install", *packages)
            needed = re.findall(r"^Inst (\S+)", said, re.MULTILINE)
            wanted |= dict.fromkeys(one for one in needed if re.fullmatch(dependencies, one))
        _run("apt-get", *options, "download", *wanted, cwd=root)
        archives = sorted(root.glob("*.deb"))
        for archive in archives:
            _run("dpkg-deb", "--extract", str(archive), str(into))
        return [archive.name for archive in archives]


def _run(*command: str, cwd: Path | None = None) -> str:
    env = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, capture_output=True, timeout=900, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise ProvisionError(f"{command[0]} failed ({done.returncode}): {said}")
    return done.stdout


def _options(root: Path, suite: str) -> list[str]:
    signed, archive = _debian_source()
    for folder in ("lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "sources.list").write_text(f"deb {signed}{archive} {suite} main\n")
    (root / "status").touch()
    settings = {
        "Dir::Etc::SourceList": root / "sources.list",
        "Dir::Etc::SourceParts": os.devnull,
        "Dir::Etc::Preferences": os.devnull,
        "Dir::Etc::PreferencesParts": os.devnull,
        "Dir::State": root,
        "Dir::State::Status": root / "status",
        "Dir::Cache": root / "cache",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::Languages": "none",
        "APT::Get::AllowUnauthenticated": "false",
        "APT::Update::Error-Mode": "any",
    }
    if not all(part.stat().st_mode & 0o001 for part in (root, *root.parents)):
        # apt's own unprivileged user could not reach a folder below a home that is 0700.
        settings["APT::Sandbox::User"] = "root"
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _debian_source() -> tuple[str, str]:
    """The options of this machine's Debian source, and the mirror it names."""
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian":
        raise ProvisionError("this machine is no Debian: install the server and put it on PATH")
    own = {release.get("VERSION_CODENAME"), "stable", "oldstable", "testing", "unstable", "sid"}
    for keyring, archive, suites, components in _source_entries():
        if archive and own & set(suites.split()) and "main" in components.split():
            return f"[signed-by={keyring}] " if keyring.startswith("/") else "", archive
    raise ProvisionError("no Debian source is configured for apt on this machine")


def _source_entries() -> Iterator[tuple[str, str, str, str]]:
    """The keyring, archive, suites and components of each of the machine's apt sources."""
    shell = _run(
        "apt-config", "shell", "f", "Dir::Etc::SourceList/f", "d", "Dir::Etc::SourceParts/d"
    )
    main_file, parts = (Path(place) for place in re.findall(r"='(.*)'", shell))
    for path in (main_file, *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))):
        text = path.read_text() if path.is_file() else ""
        yield from _stanzas(text) if path.suffix == ".sources" else _lines(text)


def _stanzas(text: str) -> Iterator[tuple[str, str, str, str]]:
    for stanza in re.split(r"\n\s*\n", text):
        field = dict(re.findall(r"^([\w-]+):[ \t]*(.*\S)", stanza, re.MULTILINE))
        if "deb" in field.get("Types", "").split() and field.get("Enabled") != "no":
            archive = (field.get("URIs") or " ").split(" ")[0]
            yield field.get("Signed-By", ""), archive, field["Suites"], field["Components"]


def _lines(text: str) -> Iterator[tuple[str, str, str, str]]:
    for line in re.finditer(r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.+)", text, re.MULTILINE):
        signed = re.search(r"signed-by=(\S+)", line[1] or "")
        yield signed[1] if signed else "", line[2], line[3], line[4]
