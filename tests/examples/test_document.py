"""docs/write-a-store.md, followed to the letter: its blocks together are a store that is sound."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leadership_core.store import Capability, FullStore
from leadership_core.testing import CALLS, Fault
from tests.examples.stranger import Stranger
from tests.packaging.environment import ROOT

PAGE = ROOT / "docs" / "write-a-store.md"
TEXT = PAGE.read_text()


@dataclass(frozen=True)
class Block:
    """A fenced block of the page."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that its first line names."""
        first = self.text.partition("\n")[0]
        named = re.fullmatch(r"# ([\w/]+\.(?:py|toml))(?:, continued)?", first)
        assert named is not None, f"a block that names no file: {first}"
        return named[1]

    @property
    def commands(self) -> list[list[str]]:
        """What is typed."""
        assert all(line.startswith("$ ") for line in self.text.splitlines()), self.text
        return [shlex.split(line[2:]) for line in self.text.splitlines()]


BLOCKS = [
    Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
]


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """Somebody who has typed everything and has installed it."""
    folder = tmp_path_factory.mktemp("author")
    for block in BLOCKS:
        if block.language in {"python", "toml"}:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as growing:
                growing.write(block.text)
    author = Stranger(folder)
    author.install(str(ROOT / "leadership_core"), str(folder))
    return author


def test_nothing_on_the_page_is_left_out() -> None:
    """Each block is part of a file, or typed, and each command is one that is tested here."""
    assert {block.language for block in BLOCKS} == {"python", "toml", "console"}
    typed = [words for block in BLOCKS if block.language == "console" for words in block.commands]

    assert [words[:2] for words in typed] == [
        ["pip", "install"],
        ["leadership", "stores"],
        ["leadership", "elect"],
        ["pytest"],
        ["leadership", "check"],
    ]


def test_its_links_lead_somewhere() -> None:
    """Files that exist, and headings of the page."""
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (PAGE.parent / target).exists(), target
    for path in re.findall(r"`(leadership_\w+/[\w/]+\.py)`", TEXT):
        assert (ROOT / path).exists(), path


def test_it_names_all_there_is() -> None:
    """Every capability, every method and attribute of a store."""
    for capability in Capability:
        assert f"| `{capability.name}` |" in TEXT
    for name in {*vars(FullStore), *FullStore.__annotations__} | {"get", "list", "put", "watch"}:
        if not name.startswith("_"):
            assert re.search(rf"`{name}\b", TEXT), name
    for name in re.findall(r"\bFault\.(\w+)", TEXT):
        assert name in Fault.__members__
    for name in re.findall(r'\.script\("(\w+)"', TEXT):
        assert name in CALLS


@pytest.mark.build
def test_it_is_listed(author: Stranger) -> None:
    """`leadership stores` knows it."""
    assert re.search(
        r"^shelf\b.*leadership-shelf 0\.1\.0", author.run("leadership", "stores"), re.MULTILINE
    )


@pytest.mark.build
@pytest.mark.timeout(240)
def test_its_tests_pass(author: Stranger) -> None:
    """The contract and the faults, as the page has them."""
    said = author.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", seconds=220)

    passed = re.search(r"^(\d+) passed in", said, re.MULTILINE)
    assert passed is not None, said
    assert int(passed[1]) > 100


@pytest.mark.build
def test_its_types_are_right(author: Stranger) -> None:
    """Under mypy --strict, also where it says that it is a store."""
    claim = author.folder / "claim.py"
    claim.write_text(
        "from leadership_core import FullStore, Session, Store\n"
        "from leadership_shelf.store import ShelfSession, ShelfStore\n\n"
        "store: Store = ShelfStore('/tmp/x')\n\n\n"
        "def session(of: ShelfStore) -> Session:\n"
        "    return of.open_session(1.0)\n"
    )

    author.run(
        "python", "-m", "mypy", "--strict", "leadership_shelf", "tests", "claim.py", seconds=100
    )


@pytest.mark.build
def test_the_command_elects_on_it(author: Stranger) -> None:
    """Two in two terminals, as the page says; the second follows the first."""
    (typed,) = (words for words in _typed() if words[:2] == ["leadership", "elect"])
    words = [_here(word, author.folder) for word in typed]
    with author.started(*words, "--json") as first:
        first.await_event("elected")
        with author.started(*words[:-1], "node-2", "--json") as second:
            first.signal(signal.SIGINT)
            second.await_event("elected")


@pytest.mark.build
@pytest.mark.timeout(240)
def test_the_check_finds_it_sound(author: Stranger) -> None:
    """`leadership check`, as the page says, with a ttl and a contention that take less time."""
    (typed,) = (words for words in _typed() if words[:2] == ["leadership", "check"])
    words = [_here(word, author.folder) for word in typed]

    said = author.run(*words, "--ttl", "1", "--seconds", "3", seconds=220)

    assert "SOUND" in said
    assert "NOT SOUND" not in said


def _typed() -> Iterator[list[str]]:
    for block in BLOCKS:
        if block.language == "console":
            yield from block.commands


def _here(word: str, folder: Path) -> str:
    return word.replace("/tmp/", f"{folder}/")
