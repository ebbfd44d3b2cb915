"""The rights that `docs/operations.md` lists for each store, and what has to work with them."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from leadership_core import (
    Candidate,
    Elected,
    Follower,
    LeadershipError,
    Store,
    StoreDown,
    StoreRefused,
    open_store,
)
from tests.support.paths import ROOT
from tests.support.waiting import at_most, wait_until

__all__ = ["KEY", "USES", "Rights", "Variant", "check", "try_all"]

KEY = "service/worker"
"""The key of the election in the page."""

_PAGE = ROOT / "docs" / "operations.md"
_TTL = 2.0
_REFUSED_WITHIN = 3.0  # seconds; the wait for a lock lasts as long where a right is missing


@dataclass(frozen=True)
class Rights:
    """The section of one store.

    Attributes:
        text: all of it.
        lines: of the block for each use.
        seen: what users see, for each missing right, as the table has it.
    """

    text: str
    lines: dict[str, list[str]]
    seen: list[tuple[str, str]]

    @classmethod
    def of(cls, title: str) -> Rights:
        """Read the section with this title."""
        section = _PAGE.read_text().split(f"\n### {title}\n")[1].split("\n### ")[0]
        lines = {}
        for block in re.findall(r"```\w*\n(.*?)```", section, re.DOTALL):
            head, *rest = block.splitlines()
            for use in re.sub(r"^(#|--) ", "", head).split(", "):
                lines[use] = rest
        rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
        return cls(
            section, lines, [(missing, seen) for missing, seen in rows if missing != "missing"]
        )

    def messages(self, row: str) -> list[str]:
        """The quoted texts that the table has for a missing right, by the beginning of its row."""
        (seen,) = [seen for missing, seen in self.seen if missing.startswith(row)]
        return re.findall(r"`([^`]+)`", seen)


@dataclass(frozen=True)
class Variant:
    """A set of rights with a right missing.

    Attributes:
        what: is missing, in words.
        lines: the rights that are left.
        row: the beginning of the row of the table that says what users see.
    """

    what: str
    lines: list[str]
    row: str


def try_all(
    use: str, url: str, missing: dict[str, str], admin: str, keys: str = "app/"
) -> dict[str, str]:
    """Do it with all rights, then with each one missing; returns the texts of the errors.

    Args:
        use: as the page names it.
        url: with all listed rights.
        missing: URLs with a right missing, by a name; they are tried at the same time.
        admin: a URL with the rights of an administrator.
        keys: the beginning of the keys of entries.
    """

    def work(url: str, seconds: float) -> None:
        if use == "entries":  # under names of its own, as others write at the same time
            _use_entries(url, admin, seconds, f"{keys}{secrets.token_hex(4)}-")
        else:
            USES[use](url, admin, seconds)

    work(url, at_most(10))

    def attempt(url: str) -> str:
        try:
            work(url, _REFUSED_WITHIN)
        except LeadershipError as error:
            return str(error)
        return "(it works)"

    with ThreadPoolExecutor(len(missing)) as pool:
        return dict(zip(missing, pool.map(attempt, missing.values()), strict=True))


# -- uses ---------------------------------------------------------------------------------


def _campaign(url: str, admin: str, seconds: float) -> None:
    """Be elected, renew the lease, hand over to a second candidate, and leave."""
    with open_store(url) as store, Candidate(store, KEY, "first", ttl=_TTL) as first:
        _await_elected(first)
        term = first.term
        assert term is not None
        before = term.remaining()
        wait_until(lambda: term.remaining() > before, _TTL, "the lease is renewed")
        with open_store(url) as other, Candidate(other, KEY, "second", ttl=_TTL) as second:
            assert first.resign(cooldown=60)
            _await_elected(second)
            assert second.stop()


def _await_elected(candidate: Candidate) -> None:
    for event in candidate.events():
        if isinstance(event, Elected):
            return
        if isinstance(event, StoreDown) and isinstance(event.error, StoreRefused):
            raise event.error


def _follow(url: str, admin: str, seconds: float) -> None:
    """See a leader, and see it leave; the leader is another user's."""
    with open_store(admin) as store, Candidate(store, KEY, "leader", ttl=_TTL) as candidate:
        _await_elected(candidate)
        with open_store(url) as seeing:
            follower = Follower(seeing, KEY)
            assert follower.wait_leader(at_most(10)) is not None
            candidate.stop()
            wait_until(lambda: follower.leader is None, 10, "the leader has left")
            assert seeing.leader(KEY) is None


def _lock(url: str, admin: str, seconds: float) -> None:
    """Take a lock and release it."""
    with open_store(url) as store:
        lock = store.lock(KEY, "worker", ttl=_TTL)
        assert lock.acquire(seconds) is not None
        assert lock.release()


def _use_entries(url: str, admin: str, seconds: float, keys: str = "app/") -> None:
    """Write, read, compare, list, watch and delete."""
    with open_store(url) as store, _watched(store, f"{keys}x"):
        entry = store.put(f"{keys}x", b"1")
        store.put(f"{keys}x", b"2", expect=entry)
        assert store.get(f"{keys}x") is not None
        store.put(f"{keys}y/z", b"3")
        assert store.list(f"{keys}y")
        store.delete(f"{keys}x")
        store.delete_tree(f"{keys}y")
        assert not store.exists(f"{keys}x")


@contextmanager
def _watched(store: Store, key: str) -> Iterator[None]:
    seen: list[object] = []
    watch = store.watch(key, seen.append)
    try:
        yield
        wait_until(lambda: seen, 5, "the watch has reported")
        for refusal in seen:
            if isinstance(refusal, StoreRefused):
                raise refusal
    finally:
        watch.close()


def _bind_entries(url: str, admin: str, seconds: float) -> None:
    """Bind an entry to a session, and end the session."""
    with open_store(url) as store:
        session = store.open_session(ttl=_TTL)
        store.put("app/bound", b"1", session=session)
        session.close()
        assert not store.exists("app/bound")


USES: dict[str, Callable[[str, str, float], None]] = {
    "candidate": _campaign,
    "follower": _follow,
    "lock": _lock,
    "entries": _use_entries,
    "entries bound to a session": _bind_entries,
}
"""What has to work, by the names of the page; each takes the URL to try, one with all rights, and seconds."""


def check(url: str) -> subprocess.CompletedProcess[str]:
    """Run `leadership check`, with one of the cases only."""
    case = "list ends at the slash"
    words = ["-m", "tests.unit.cli.few_checks", case, url, "--ttl", f"{_TTL:g}", "--seconds", "1"]
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=at_most(50),
        check=False,
    )
