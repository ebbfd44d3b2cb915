from __future__ import annotations

import pytest

from tests.faults.catalogue import SERVERS
from tests.faults.stand import Stand

pytestmark = pytest.mark.slow

_SLOWLY = [pytest.param(kind, marks=pytest.mark.soak) for kind in SERVERS]


@pytest.mark.parametrize("kind", ["sqlite", *_SLOWLY])
def test_one_who_believes_too_long_is_found(stand: Stand) -> None:
    """By what the candidates say, and by what the store says."""
    longer = stand.times.pause + 2.0
    first = stand.candidate("first", odd=f"believers.stubborn:{longer}")
    reign = stand.leader()
    stand.candidate("second")
    with stand.fault("first stands still"):
        first.process.pause()
        stand.leader(after=reign)
        first.process.resume()
        stand.sleep(0.3)

    with pytest.raises(AssertionError) as caught:
        stand.finish()

    assert "two believers" in str(caught.value)
    assert "a belief that the store did not share" in str(caught.value)
