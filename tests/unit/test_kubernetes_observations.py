"""Since when a process has seen a Lease unchanged: what counts is the answer, and the version."""

from __future__ import annotations

import pytest

from leadership_core.backend import clock
from leadership_kubernetes.lease import Lease
from leadership_kubernetes.observations import Observations
from tests.unit.manual_clock import ManualClock


def _lease(version: int, *, holder: str = "a", renewed: str = "2020-01-01T00:00:00Z") -> Lease:
    return Lease(
        {
            "metadata": {"name": "lease", "resourceVersion": str(version)},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 10, "renewTime": renewed},
        }
    )


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    manual = ManualClock()
    monkeypatch.setattr(clock, "now", manual)
    return manual


def test_lease_counts_from_the_answer_that_showed_its_version_first(time: ManualClock) -> None:
    """It may have been renewed after the request was sent; a later answer with it begins nothing."""
    found, lease = Observations(), _lease(5)
    sent, time.time = time.time, time.time + 4.0
    found.note(lease, sent=sent)
    time.time += 9.9
    found.note(lease, sent=time.time)

    assert not found.is_free(lease)
    time.time += 0.2
    assert found.is_free(lease)


def test_lease_of_another_version_counts_from_its_own_answer(time: ManualClock) -> None:
    """It was renewed, whatever its times say; what was read before does not make it free."""
    found = Observations()
    found.note(_lease(5), sent=time.time)
    time.time += 9.0
    found.note(_lease(6), sent=time.time)
    time.time += 5.0

    assert not found.is_free(_lease(6))
    assert not found.is_free(_lease(5))
    time.time += 5.1
    assert found.is_free(_lease(6))


def test_lease_is_silent_only_by_an_answer_that_was_requested_after_its_duration(
    time: ManualClock,
) -> None:
    """An event of a watch, and an answer to an earlier request, may be older than the last renewal."""
    found, lease = Observations(), _lease(5)
    found.note(lease, sent=time.time)
    sent, time.time = time.time + 9.0, time.time + 11.0
    found.note(lease, sent=sent)
    found.note(lease)

    assert not found.is_silent(lease)
    found.note(lease, sent=time.time)
    assert found.is_silent(lease)


def test_lease_without_a_holder_is_free_at_once() -> None:
    """It was released."""
    assert Observations().is_free(_lease(5, holder=""))
