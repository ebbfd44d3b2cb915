"""The timeline of one run: the leaders, the faults, and the holders that the store reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from html import escape
from typing import Any

from tests.system.timeline_svg import (
    LANE,
    WIDTH,
    Axis,
    Bar,
    Tick,
    bar,
    label,
    merged,
    scale,
    ticks,
    width_of,
)

__all__ = ["draw", "leaderless"]

_ROW = 19.0  # px, for each row of faults
_COLOURS = 8

_Lane = tuple[str, list[Bar], list[Tick]]


def draw(run: dict[str, Any]) -> str:
    """Draw it as SVG; its colours are in the style sheet of the page."""
    axis = Axis(*_extent(run))
    rows = _fault_rows(run, axis)
    body, y = [], 6.0
    if rows:
        body.append(label(y - 3, "faults"))
    for row in rows:
        body += row(y)
        y += _ROW
    y += 6
    first = y
    for name, bars, events in _lanes(run, axis):
        body.append(f'<line class="lane" x1="0" x2="{WIDTH:g}" y1="{y:g}" y2="{y:g}"/>')
        body.append(label(y, name))
        body += [bar(one, y, axis) for one in merged(bars, axis)]
        body += ticks(events, y, axis)
        y += LANE
    body += scale(y, axis)
    bands = "".join(_bands(run, axis, first, y))
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {y + 22:g}" role="img" aria-label="time line">'
        f"{bands}{''.join(body)}</svg>"
    )


def leaderless(run: dict[str, Any]) -> list[tuple[float, float]]:
    """The times without a leader between the first term and the end."""
    intervals = sorted(
        (b["since"], b["until"]) for one in run["candidates"] for b in one["intervals"]
    )
    found = []
    led = intervals[0][1] if intervals else 0.0
    end = run["ended"] if run["ended"] is not None else led
    for since, until in intervals:
        if since - led > 0.001:
            found.append((led, since))
        led = max(led, until)
    if intervals and end - led > 0.02:
        found.append((led, end))
    return found


def _extent(run: dict[str, Any]) -> tuple[float, float]:
    times = [0.0, 1.0, run["ended"] or 0.0]
    times += [b["until"] for one in run["candidates"] for b in one["intervals"]]
    times += [e["at"] for one in run["candidates"] for e in one["events"]]
    times += [f["until"] or f["since"] for f in run["faults"]]
    times += [span["until"] for span in run["store"]]
    return 0.0, max(times) * 1.01


# -- faults ---------------------------------------------------------------------------------


def _bands(run: dict[str, Any], axis: Axis, top: float, bottom: float) -> Iterator[str]:
    """Faults as bands over all lanes."""
    for one in run["faults"]:
        a = axis.x(one["since"])
        b = axis.x(axis.until if one["until"] is None else one["until"])
        size = f'width="{max(b - a, 1):.1f}" height="{bottom - top:g}"'
        yield f'<rect class="band" x="{a:.1f}" y="{top:g}" {size}/>'
    for one in run["marks"]:
        x = axis.x(one["at"])
        yield f'<line class="moment" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>'


def _fault_rows(run: dict[str, Any], axis: Axis) -> list[Callable[[float], Iterator[str]]]:
    """The texts of the faults, in as many rows as they need without an overlap."""
    taken = {(one["what"], round(one["at"], 2)): one for one in run["recoveries"]}
    items: list[tuple[float, float, Bar, float | None]] = []
    for one in run["faults"]:
        until = axis.until if one["until"] is None else one["until"]
        recovery = taken.get((one["what"], round(until, 2)))
        late = recovery["seconds"] if recovery and recovery["seconds"] else None
        text = one["what"] + (f"  ·  a leader after {late:.1f} s" if late else "")
        title = f"{one['what']}: {until - one['since']:.3f} s"
        left = axis.x(one["since"])
        right = max(axis.x(until + (late or 0)), left + width_of(text) + 8)
        wrong = Bar(one["since"], until, "fault", text, title)
        items.append((left, right, wrong, until + late if late else None))
    for one in run["marks"]:
        left = axis.x(one["at"])
        title = f"{one['what']}, at {one['at']:.3f} s"
        mark = Bar(one["at"], one["at"], "mark", one["what"], title)
        items.append((left, left + width_of(one["what"]) + 14, mark, None))
    ends: list[float] = []
    rows: list[list[tuple[Bar, float | None]]] = []
    for left, right, one, led in sorted(items, key=lambda item: item[:2]):
        number = next((n for n, end in enumerate(ends) if end <= left), len(ends))
        if number == len(ends):
            ends.append(0.0)
            rows.append([])
        ends[number] = right + 4
        rows[number].append((one, led))
    return [partial(_fault_row, row, axis) for row in rows]


def _fault_row(row: Iterable[tuple[Bar, float | None]], axis: Axis, y: float) -> Iterator[str]:
    for one, led in row:
        a, b = axis.x(one.since), axis.x(one.until)
        yield f"<g><title>{escape(one.title)}</title>"
        if one.look == "mark":
            yield f'<path class="mark" d="M{a:.1f} {y + 3:.1f}l4 5l-4 5l-4 -5z"/>'
        else:
            size = f'width="{max(b - a, 2):.1f}" height="16"'
            yield f'<rect class="fault" x="{a:.1f}" y="{y:g}" {size} rx="3"/>'
        if led is not None:
            yield f'<path class="led" d="M{b:.1f} {y + 15:.1f}H{axis.x(led):.1f}v-12"/>'
        fits = a + width_of(one.text) + 8 < WIDTH
        x, anchor = (a + 7, "start") if fits else (a - 6, "end")
        yield f'<text class="small" x="{x:.1f}" y="{y + 12:g}" text-anchor="{anchor}">'
        yield f"{escape(one.text)}</text></g>"


# -- lanes ----------------------------------------------------------------------------------


def _lanes(run: dict[str, Any], axis: Axis) -> Iterator[_Lane]:
    gaps = [
        Bar(a, b, "none", f"{b - a:.1f} s", f"no leader for {b - a:.3f} s")
        for a, b in leaderless(run)
    ]
    yield "no leader", gaps, []
    yield from _candidates(run, axis)
    yield "the store says", _store(run), []
    yield from _servers(run, axis)


def _servers(run: dict[str, Any], axis: Axis) -> Iterator[_Lane]:
    for server in run["servers"]:
        over = min(one for one in (run["ended"], run["closed"], axis.until) if one is not None)
        bars = list(_state_of([action for action in server["actions"] if action[0] < over], axis))
        if any(each.look != "up" for each in bars):
            yield server["name"], bars, []


def _candidates(run: dict[str, Any], axis: Axis) -> Iterator[_Lane]:
    for number, one in enumerate(run["candidates"]):
        bars = list(_state_of(one["actions"], axis))
        bars += [
            Bar(
                b["since"],
                b["until"],
                f"held c{number % _COLOURS}",
                f"#{b['token']}",
                f"{one['who']} leads with #{b['token']} for {b['until'] - b['since']:.3f} s,"
                f" from {b['since']:.3f} to {b['until']:.3f}",
            )
            for b in one["intervals"]
        ]
        events = [
            Tick(
                e["at"],
                e["name"],
                f"{e['at']:.3f} s {e['name']}"
                + (f" #{e['token']}" if e["token"] else "")
                + (f": {e['reason']}" if e["reason"] else ""),
            )
            for e in one["events"]
        ]
        yield one["who"], bars, events


def _store(run: dict[str, Any]) -> list[Bar]:
    owners = {
        b["token"]: number % _COLOURS
        for number, one in enumerate(run["candidates"])
        for b in one["intervals"]
    }
    bars = []
    last: float | None = None
    for span in run["store"]:
        if last is not None and span["since"] - last > 0.05:
            what = "nothing to be seen"
            bars.append(Bar(last, span["since"], "unseen", "", f"{what} of the store"))
        last = span["until"]
        look = "vacant" if span["token"] is None else "held other"
        if span["token"] in owners:
            look = f"held c{owners[span['token']]}"
        text = "" if span["token"] is None else f"#{span['token']} {span['value']}"
        title = f"{text or 'no holder'}, seen from {span['since']:.3f} to {span['until']:.3f} s"
        bars.append(Bar(span["since"], span["until"], look, text, title))
    return bars


def _state_of(actions: Iterable[tuple[float, str]], axis: Axis) -> Iterator[Bar]:
    """Whether a process was running, paused or ended, by the faults recorded for it."""
    readings = {
        "started": "up",
        "SIGCONT": "up",
        "SIGSTOP": "paused",
        "SIGKILL": "gone",
        "SIGTERM": "leaving",
    }
    state, since = "", axis.since
    for at, what in [*actions, (axis.until, "")]:
        following = readings.get(what, state)
        if following == state and what:
            continue
        if state and at > since:
            title = {"paused": "stopped (SIGSTOP)", "gone": "killed", "leaving": "was asked to end"}
            text = f"{title.get(state, 'runs')} from {since:.3f} to {at:.3f} s"
            yield Bar(max(since, axis.since), at, state, "", text)
        state, since = following, at
