"""The testbed with a candidate that acts as leader after a loss."""

from __future__ import annotations

import pytest

from tests.support.testbed import Testbed
from tests.system.catalogue import SERVERS

pytestmark = pytest.mark.slow

_SLOWLY = [pytest.param(kind, marks=pytest.mark.soak) for kind in SERVERS]


@pytest.mark.parametrize("kind", ["sqlite", *_SLOWLY])
def test_oracle_finds_candidate_that_leads_too_long(testbed: Testbed) -> None:
    """Both the recordings and the store's readings show it."""
    longer = testbed.times.pause + 2.0
    first = testbed.candidate("first", faulty=f"stale_state.stubborn:{longer}")
    leader = testbed.await_leader()
    testbed.candidate("second")
    with testbed.fault("first is paused"):
        first.process.pause()
        testbed.await_leader(after=leader)
        first.process.resume()
        testbed.sleep(0.3)

    with pytest.raises(AssertionError) as caught:
        testbed.finish()

    assert "two leaders" in str(caught.value)
    assert "a leader that the store did not confirm" in str(caught.value)
