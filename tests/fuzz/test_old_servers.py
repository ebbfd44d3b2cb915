"""Servers that are too old: a lasting refusal is raised, although something else has worked before."""

from __future__ import annotations

import time

import pytest

from leadership_core import Candidate, open_store
from leadership_core.errors import ConfigurationError
from tests.fuzz.evil_zookeeper import EvilZooKeeper, Said

UNIMPLEMENTED = -6


def test_a_zookeeper_without_create2_is_refused() -> None:
    """As 3.4 is; sessions open and are renewed there, and no node of a candidate can be made."""

    def old(name: str, _: str, said: Said) -> Said:
        return Said(error=UNIMPLEMENTED) if name == "create2" else said

    with EvilZooKeeper(old) as server, open_store(server.url) as store:
        begun = time.monotonic()
        with pytest.raises(ConfigurationError, match=r"ZooKeeper 3\.5 or later"):
            Candidate(store, "fuzz/key", "me", ttl=15.0).wait_elected(20.0)

    assert "create2" in server.asked
    assert time.monotonic() - begun < 10.0
