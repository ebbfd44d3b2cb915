"""Public names of the objects that users hold."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import leadership_core
from leadership_core import Candidate, Follower, Leader, Lock, Store, Term, status

_SURFACE = {
    Candidate: {
        "add_listener", "events", "is_leader", "key", "lead", "leading", "only_leader", "resign",
        "run_for_election", "start", "stop", "term", "ttl", "value", "wait_elected", "working",
    },
    Follower: {
        "add_listener", "events", "follow_election", "key", "leader", "start", "stop", "wait_leader",
    },
    Term: {
        "check", "ensure", "fence", "heartbeat", "key", "lost", "remaining", "token", "wait_lost",
    },
    Lock: {"acquire", "key", "release", "term"},
    Leader: {"age", "confirmed_at", "of", "raw", "token", "value"},
    Store: {
        "capabilities", "close", "delete", "delete_tree", "election", "exists", "expires_within",
        "get", "leader", "list", "lock", "open_session", "put", "url", "watch", "watch_tree",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", _SURFACE)
def test_public_names_are_those_that_users_call(store: Store, kind: type) -> None:
    """Names that only the engine calls begin with an underscore."""
    term = Candidate(store, "key", "value", ttl=3).wait_elected(5)
    things: list[object] = [
        store,
        store.leader("key"),
        store.lock("lock"),
        term,
        Candidate(store, "key", "value"),
        Follower(store, "key"),
    ]
    thing = next(one for one in things if type(one) is kind)

    assert {name for name in dir(thing) if not name.startswith("_")} == _SURFACE[kind]


def test_public_names_of_the_status_server(store: Store) -> None:
    """`leadership_core.status` has one function, and what that returns has three names."""
    with status.serve([Follower(store, "key")]) as server:
        names = {name for name in dir(server) if not name.startswith("_")}

    assert status.__all__ == ["StatusServer", "serve"]
    assert names == {"close", "port", "url"}


def test_version_is_that_of_the_distribution() -> None:
    """`__version__` equals the version in pyproject.toml."""
    project = Path(leadership_core.__file__).with_name("pyproject.toml")

    assert tomllib.loads(project.read_text())["project"]["version"] == leadership_core.__version__
