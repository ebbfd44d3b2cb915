"""What users and their completion see of the objects that they hold: what is for them, only."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import leadership_core
from leadership_core import Candidate, Follower, Leader, Lock, StoreHandle, Term

_SURFACE = {
    Candidate: {
        "events", "is_leader", "key", "lead", "leading", "resign", "run_for_election", "start",
        "stop", "term", "ttl", "value", "wait_elected",
    },
    Follower: {"events", "follow_election", "key", "leader", "stop", "wait_leader"},
    Term: {"check", "ensure", "fence", "key", "lost", "remaining", "token", "wait_lost"},
    Lock: {"acquire", "key", "release", "term"},
    Leader: {"age", "confirmed_at", "of", "raw", "token", "value"},
    StoreHandle: {
        "capabilities", "close", "delete", "delete_tree", "election", "exists", "expires_within",
        "get", "leader", "list", "lock", "open_session", "put", "url", "watch", "watch_tree",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", _SURFACE)
def test_public_names_are_those_that_users_call(store: StoreHandle, kind: type) -> None:
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


def test_version_is_that_of_the_distribution() -> None:
    project = Path(leadership_core.__file__).with_name("pyproject.toml")

    assert tomllib.loads(project.read_text())["project"]["version"] == leadership_core.__version__
