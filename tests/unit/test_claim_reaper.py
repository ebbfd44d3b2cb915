"""The end of an orphaned claim together with its session."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from leadership_core.backend import Claim
from leadership_core.engine.claim_reaper import ClaimReaper
from leadership_core.engine.occupied_keys import OccupiedKeys
from leadership_core.engine.session_keeper import SessionKeeper

KEY = "service/leader"


class _Session:
    """A session that counts the requests to close it."""

    id, ttl, closed = "s1", 5.0, 0

    def close(self) -> None:
        self.closed += 1


def _reaper_of(session: _Session, *, abandoned: bool) -> tuple[ClaimReaper, list[bool]]:
    """A reaper of a claim whose session's thread has ended without a confirmation of the store."""

    def at_once(*arguments: Any) -> None:
        task: Callable[[], None] = arguments[-1]
        task()

    keeper = SimpleNamespace(
        session=session, abandoned=abandoned, confirmed_closed=False, ended=True, closing=True,
        occupied=OccupiedKeys(), when_closed=at_once,
        lease=SimpleNamespace(effective_ttl=5.0),
    )  # fmt: skip
    context = SimpleNamespace(
        scheduler=SimpleNamespace(call_later=at_once, post=at_once),
        requests=SimpleNamespace(submit=at_once),
        store="the store", rng=SimpleNamespace(uniform=lambda low, high: low, random=lambda: 0.0),
    )  # fmt: skip
    said: list[bool] = []
    claim = Claim(KEY, cast(Any, session), b"node")
    keeper_like = cast(SessionKeeper, keeper)
    return ClaimReaper(cast(Any, context), keeper_like, cast(Any, None), claim, said.append), said


@pytest.mark.parametrize("abandoned", [True, False], ids=["abandoned", "not abandoned"])
def test_session_is_closed_by_end_of_orphaned_claim_unless_abandoned(abandoned: bool) -> None:
    """Work may go on under a session that is left to its ttl; any other one is closed again."""
    session = _Session()
    reaper, said = _reaper_of(session, abandoned=abandoned)

    reaper.run()

    assert session.closed == (0 if abandoned else 1)
    assert said == ([False] if abandoned else [False, True])
