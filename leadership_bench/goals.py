"""Goals of this library in one run with its peers, and whether the run has met them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .results import Results, Series
from .statistics import ratio
from .tables import NAMES, number

__all__ = ["Goal", "goals_of"]

_NATIVE = {"etcd": "etcdctl elect", "zk": "kazoo Election", "consul": "consul lock"}
_IN_PROCESS = {"etcd": 2.5, "zk": 2.5, "consul": 4.0, "sqlite": 3.0}
_FLAT = ("etcd", "zk", "sqlite")


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal.

    Attributes:
        what: was measured.
        wanted: what it should be.
        found: what it was.
        is_met: whether the value is as wanted.
    """

    what: str
    wanted: str
    found: str
    is_met: bool


def goals_of(results: Results) -> Iterator[Goal]:
    """The goals whose figures were measured."""
    yield from _against_native(results)
    yield from _in_process(results)
    yield from _consul_crowd(results)
    yield from _many_elections(results)
    yield from _calls_and_imports(results)


def _median(one: Series | None) -> float | None:
    return one.summary.median if one and one.summary else None


def _against_native(results: Results) -> Iterator[Goal]:
    case = "1 waiting, each in a process"
    for store, native in _NATIVE.items():
        ours = results.find("handover", store, case)
        theirs = results.find("handover", store, case, native)
        found = ratio(ours.values, theirs.values) if ours and theirs else None
        if found:
            yield Goal(
                f"{NAMES[store]}: hand-over from process to process, beside {native}",
                "at most 0.90 x",
                f"{found.median:.2f} x ({found.low:.2f} to {found.high:.2f})",
                found.median <= 0.9,
            )


def _in_process(results: Results) -> Iterator[Goal]:
    for store, limit in _IN_PROCESS.items():
        one = _median(results.find("handover", store, "1 waiting, one process"))
        many = _median(results.find("handover", store, "1000 waiting, one process"))
        if one is not None:
            yield Goal(
                f"{NAMES[store]}: hand-over within a process, median",
                f"at most {limit:g} ms",
                f"{number(one)} ms",
                one <= limit,
            )
        if one is not None and many is not None and store in _FLAT:
            yield Goal(
                f"{NAMES[store]}: the same with 1,000 waiting, beside 1 waiting",
                "at most 1.5 x",
                f"{many / one:.2f} x",
                many <= 1.5 * one,
            )


def _consul_crowd(results: Results) -> Iterator[Goal]:
    for case in ("60 waiting, each in a process", "60 waiting, one process"):
        one = results.find("handover", "consul", case)
        if one and one.summary:
            yield Goal(
                f"Consul: hand-over with {case}, p99",
                "at most 100 ms",
                f"{number(one.summary.p99)} ms",
                one.summary.p99 <= 100,
            )


def _many_elections(results: Results) -> Iterator[Goal]:
    for store in results.servers:
        values = {
            what: _median(results.find("scale", store, f"10000 elections: {what}"))
            for what in ("elected", "threads", "memory", "idle")
        }
        fewer = _median(results.find("scale", store, "1000 elections: elected"))
        elected = values["elected"]
        name = f"{NAMES.get(store, store)}: 10,000 elections in a process"
        if elected is not None:
            yield Goal(f"{name}, elected", "in at most 10 s", f"{number(elected)} s", elected <= 10)
        if elected is not None and fewer:
            yield Goal(
                f"{name}, elected, beside 1,000",
                "at most 11 x",
                f"{elected / fewer:.1f} x",
                elected <= 11 * fewer,
            )
        for what, limit, unit in (
            ("threads", 20, ""),
            ("memory", 100, " MB"),
            ("idle", 1, " % of a core"),
        ):
            found = values[what]
            if found is not None:
                yield Goal(
                    f"{name}, {what}",
                    f"at most {limit}{unit}",
                    f"{number(found)}{unit}",
                    found <= limit,
                )


def _calls_and_imports(results: Results) -> Iterator[Goal]:
    ours = results.find("calls", "", "is_leader")
    clock = results.find("calls", "", "is_leader", "time.clock_gettime")
    found = ratio(ours.values, clock.values) if ours and clock else None
    if found:
        yield Goal(
            "is_leader, beside one read of the clock",
            "at most 3 x",
            f"{found.median:.2f} x",
            found.median <= 3,
        )
    for case, statement in (
        ("import", "import leadership_core"),
        ("import of the names that programs use", "import of Candidate, Follower and open_store"),
    ):
        ours = results.find("import", "", case)
        kazoo = results.find("import", "", case, "kazoo.client")
        found = ratio(ours.values, kazoo.values) if ours and kazoo else None
        taken = _median(ours)
        if found and taken is not None:
            yield Goal(
                f"{statement}, beside `import kazoo.client`",
                "at most 1.0 x and 60 ms",
                f"{found.median:.2f} x, {number(taken)} ms",
                found.median <= 1 and taken <= 60,
            )
    slowest = max(
        (
            (one.summary.median, one.case)
            for one in results.of("command")
            if one.summary and one.contender == "leadership"
        ),
        default=None,
    )
    if slowest:
        yield Goal(
            f"start of a command (`{slowest[1]}` is the slowest)",
            "at most 150 ms",
            f"{number(slowest[0])} ms",
            slowest[0] <= 150,
        )
