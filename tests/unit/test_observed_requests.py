"""Elections by observation: the requests that a granted claim takes, and the reports of its watch."""

from __future__ import annotations

import pytest

from leadership_core.backend import Absent, StoreUnavailable
from tests.unit.observed_bench import CLAIM, Bench, Process

pytestmark = pytest.mark.parametrize("kind", ["epochs", "revisions"], scope="function")


@pytest.fixture
def bench(kind: str) -> Bench:
    """A bench on a store with or without revisions over the whole store."""
    return Bench(kind)


class Watched:
    """A claim that was granted, and what its watch has reported."""

    def __init__(self, process: Process) -> None:
        assert process.claim is not None
        self.wakes = 0
        self.watch = process.election.watch_claim(process.claim, self._count)

    def _count(self) -> None:
        self.wakes += 1


def test_record_that_was_granted_wakes_nothing(bench: Bench) -> None:
    """The answer to entering has shown it: no read follows. A change of it wakes."""
    holder, operator = bench.process(), bench.process()
    assert holder.leads()
    holder.store.requests.clear()
    watched = Watched(holder)
    assert watched.wakes == 0
    assert holder.store.requests == []
    operator.store.delete(CLAIM)
    assert watched.wakes == 1
    assert isinstance(holder.status(), Absent)
    watched.watch.close()


def test_change_between_the_grant_and_the_watch_wakes(bench: Bench) -> None:
    """The first report of the watch is compared with the record that was granted."""
    holder, operator = bench.process(), bench.process()
    assert holder.leads()
    operator.store.delete(CLAIM)
    watched = Watched(holder)
    assert watched.wakes == 1
    watched.watch.close()


def test_record_written_again_by_hand_wakes(bench: Bench) -> None:
    """The same text with another revision is another record."""
    holder, operator = bench.process(), bench.process()
    assert holder.leads()
    found = operator.store.get(CLAIM)
    assert found is not None
    operator.store.put(CLAIM, found.value, expect=found)
    watched = Watched(holder)
    assert watched.wakes == 1
    watched.watch.close()


def test_first_report_after_an_outage_wakes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record may have changed and changed back, and the engine relies on the watch again."""
    holder = bench.process()
    assert holder.leads()
    reports = []

    class Outage:
        def close(self) -> None:
            pass

    def watch(_: object, on_change: object, **__: object) -> Outage:
        reports.append(on_change)
        return Outage()

    monkeypatch.setattr(holder.store, "watch", watch)
    watched = Watched(holder)
    (on_change,) = reports
    assert callable(on_change)
    on_change(StoreUnavailable("the server is away"))
    assert watched.wakes == 1
    on_change(bench.entry())
    assert watched.wakes == 2
    watched.watch.close()


def test_release_takes_one_write(bench: Bench) -> None:
    """The record is compared, not read; one that was changed by hand is read, and released all the same."""
    holder, operator = bench.process(), bench.process()
    assert holder.leads()
    holder.store.requests.clear()
    holder.withdraw()
    assert holder.store.requests.count("get") == 0
    assert operator.leads()
    operator.withdraw()

    assert holder.leads()
    found = bench.entry()
    assert found is not None
    operator.store.put(CLAIM, found.value, expect=found)
    holder.withdraw()
    assert operator.leads()


def test_release_of_a_record_that_was_deleted_changes_nothing(bench: Bench) -> None:
    """An operator has deleted it, and another candidate may have entered since."""
    holder, operator = bench.process(), bench.process()
    assert holder.leads()
    operator.store.delete(CLAIM)
    holder.withdraw()
    assert holder.leads()
    operator.store.delete(CLAIM)
    assert operator.leads()
    before = bench.entry()
    holder.withdraw()
    assert bench.entry() == before
    assert holder.claim is not None
    assert holder.claim.settled


def test_first_entry_takes_one_write_where_released_records_are_deleted(
    bench: Bench, kind: str
) -> None:
    """A new election has no record there. One with a holder is read after that, and none of it is replaced."""
    first, second = bench.process(), bench.process()
    first.store.requests.clear()
    assert first.leads()
    assert first.store.requests == (["put"] if kind == "revisions" else ["get", "put"])
    before = bench.entry()
    assert not second.leads()
    assert bench.entry() == before
    second.store.requests.clear()
    assert not second.leads()
    assert "put" not in second.store.requests
