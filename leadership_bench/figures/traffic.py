"""Figure: requests, bytes and writes at the server, counted there and by a proxy in between."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from ..contenders import Contender, contenders_of
from ..group import Dropped, Group
from ..proxy import CountingProxy
from ..run import Run
from ..servers import Target, count_at

__all__ = ["measure"]

_WAITING = 10
_ELECTIONS = 100
_HAND_OVERS = 8


@dataclass(frozen=True, slots=True)
class _Reading:
    """Counters at a moment; None where nothing counts."""

    at: float
    requests: float | None
    bytes: float | None
    writes: float | None


@dataclass(frozen=True, slots=True)
class _Rates:
    """Counts per second."""

    requests: float | None
    bytes: float | None
    writes: float | None


def measure(run: Run, target: Target) -> None:
    """Count for one contender after the other: the counters of a server know no clients."""
    for contender in run.contenders[target.scheme]:
        run.progress.detail("traffic", f"{target.scheme}, {contender.name}")
        try:
            with contextlib.ExitStack() as stack:
                proxy = None
                place, player = target, contender
                if target.can_have_proxy:
                    proxy = stack.enter_context(CountingProxy(target.host, target.port))
                    place = target.through(proxy.port)
                    found, _ = contenders_of(place, contender.program)
                    player = next(one for one in found if one.name == contender.name)
                elif target.port:
                    raise Dropped(target.why_no_proxy)
                _Meter(run, target, place, player, proxy).run()
        except Dropped as reason:
            run.drop(target, contender, "traffic", reason)


class _Meter:
    """Counts what one contender sends.

    Args:
        run: the run.
        target: the server itself, which is asked for its counters.
        place: its address for the contender.
        contender: whose requests.
        proxy: in between; None for a file.
    """

    def __init__(
        self,
        run: Run,
        target: Target,
        place: Target,
        contender: Contender,
        proxy: CountingProxy | None,
    ) -> None:
        self._run, self._target, self._place = run, target, place
        self._contender, self._proxy = contender, proxy
        self._window = max(run.effort.window, 1.4 * target.ttl)

    def run(self) -> None:
        """Count in all situations that the contender can be in."""
        with self._group().running() as group:
            group.start(2, 1)
            idle_pair = self._idle(group)
            self._hand_overs(group, idle_pair)
        with self._group().running() as group:
            group.start(1, 1)
            alone = self._idle(group)
            self._add("a leader alone, per ttl", alone, self._target.ttl)
        if self._contender.is_command:
            self._add_difference("a waiting candidate, per ttl", idle_pair, alone, 1)
            return
        with self._group().running() as group:
            group.start(1, 1 + _WAITING)
            self._add_difference("a waiting candidate, per ttl", self._idle(group), alone, _WAITING)
        if self._contender.most < 1000:
            return
        with self._group().running() as group:
            group.open(1)
            group.elect_all(_ELECTIONS, 30.0)
            self._add(
                f"a leader of {_ELECTIONS} elections, per ttl", self._idle(group), self._target.ttl
            )

    def _group(self) -> Group:
        return self._run.group(self._contender, self._place)

    def _hand_overs(self, group: Group, idle: _Rates) -> None:
        group.hand_over(10.0)  # warm-up
        self._run.children.run_for(0.4)
        before = self._read(group)
        for _ in range(_HAND_OVERS):
            group.hand_over(10.0)
        self._run.children.run_for(0.4)
        after = self._read(group)
        seconds = after.at - before.at
        for unit in ("requests", "bytes", "writes"):
            first, last, rate = getattr(before, unit), getattr(after, unit), getattr(idle, unit)
            if first is not None and last is not None and rate is not None:
                each = (last - first - rate * seconds) / _HAND_OVERS
                self._put("a hand-over between two processes", unit, each)

    def _idle(self, group: Group) -> _Rates:
        self._run.children.run_for(0.7)
        before = self._read(group)
        self._run.children.run_for(self._window)
        after = self._read(group)
        seconds = after.at - before.at

        def rate(first: float | None, last: float | None) -> float | None:
            return None if first is None or last is None else (last - first) / seconds

        return _Rates(
            rate(before.requests, after.requests),
            rate(before.bytes, after.bytes),
            rate(before.writes, after.writes),
        )

    def _read(self, group: Group) -> _Reading:
        if self._proxy is None:
            calls, written = _written_by(group.pids)
            return _Reading(time.monotonic(), None, written, calls)
        counted = count_at(self._target)
        is_http = self._target.scheme == "consul"
        return _Reading(
            time.monotonic(),
            float(self._proxy.requests) if is_http else counted.requests,
            float(self._proxy.bytes),
            counted.writes,
        )

    def _add(self, case: str, rates: _Rates, seconds: float) -> None:
        for unit in ("requests", "bytes", "writes"):
            rate = getattr(rates, unit)
            if rate is not None:
                self._put(case, unit, rate * seconds)

    def _add_difference(self, case: str, more: _Rates, less: _Rates, number: int) -> None:
        for unit in ("requests", "bytes", "writes"):
            one, other = getattr(more, unit), getattr(less, unit)
            if one is not None and other is not None:
                self._put(case, unit, (one - other) * self._target.ttl / number)

    def _put(self, case: str, unit: str, value: float) -> None:
        self._run.results.add(
            "traffic",
            self._target.scheme,
            f"{case}: {unit}",
            self._contender.name,
            unit,
            [round(max(0.0, value), 2)],
        )


def _written_by(pids: list[int]) -> tuple[float | None, float | None]:
    """The write calls of processes, and the bytes that they have written; None off Linux."""
    calls = written = 0.0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").split()
        except OSError:
            return None, None
        fields = dict(zip(lines[::2], lines[1::2], strict=False))
        calls += float(fields["syscw:"])
        written += float(fields["wchar:"])
    return calls, written
