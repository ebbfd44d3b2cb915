"""Values of leaders that are not UTF-8: they can be printed, and lose no byte."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leadership_core import Candidate, Follower, Leader, Store

_ROOT = Path(__file__).parents[2]
_BYTES = b"n\xc3\xb6de \xff\xfe"


def test_text_of_a_leader_can_always_be_encoded() -> None:
    """Bytes that are not UTF-8 are escaped."""
    leader = Leader.of(_BYTES, 7)

    assert str(leader) == f"{leader}" == "n\xf6de \\xff\\xfe"
    assert str(leader).encode()
    assert repr(leader).encode()
    assert leader.raw == _BYTES


@pytest.mark.parametrize("value", ["node-1", "n\xf6de", "\U0001f600", "", "a\\xff"])
def test_text_of_a_leader_is_its_value_where_that_is_text(value: str) -> None:
    """UTF-8 is decoded."""
    leader = Leader.of(value.encode(), 7)

    assert str(leader) == leader.value == value
    assert leader.raw == value.encode()


def test_followers_and_logs_take_a_foreign_value(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The candidate's value is such bytes, decoded by `os.fsdecode`."""
    caplog.set_level(logging.INFO)
    candidate = Candidate(store, "key", _BYTES.decode("utf-8", "surrogateescape"), ttl=3)
    follower = Follower(store, "key")
    stream = follower.events()
    assert candidate.wait_elected(3)
    leader = follower.wait_leader(3)
    assert leader is not None
    follower.stop()

    for thing in (leader, candidate, *stream):
        assert f"{thing}{thing!r}".encode()
    for record in caplog.records:
        assert record.getMessage().encode()
        assert json.dumps({"value": getattr(record, "leadership_value", None)}).encode("ascii")
    assert leader.raw == _BYTES


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_follower_prints_a_foreign_value_in_any_encoding(encoding: str) -> None:
    """The terminal may take ASCII only."""
    program = "from leadership_core import Leader; print(Leader.of(b'node \\xff', 1))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"node \\xff\n"
