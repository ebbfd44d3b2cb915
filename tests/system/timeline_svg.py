"""SVG elements of a timeline; their colours are in the style sheet of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

__all__ = ["LANE", "WIDTH", "Axis", "Bar", "Tick", "bar", "label", "merged", "scale", "ticks"]

WIDTH, LANE = 1120.0, 30.0
_GUTTER, _RIGHT = 132.0, 14.0
_BAR = 15.0  # px, the height of one
_LETTER = 6.3  # px, of a small text, on average
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_MOST_TICKS = 25  # named in one tooltip


class Bar(NamedTuple):
    """A state that lasted for a time."""

    since: float
    until: float
    look: str  # classes
    text: str = ""
    title: str = ""


class Tick(NamedTuple):
    """An event at a point in time."""

    at: float
    look: str
    title: str


class Axis(NamedTuple):
    """Conversion of times to positions on the page."""

    since: float
    until: float

    def x(self, at: float) -> float:
        part = (at - self.since) / (self.until - self.since)
        return _GUTTER + min(1.0, max(0.0, part)) * (WIDTH - _GUTTER - _RIGHT)


def width_of(text: str) -> float:
    """The approximate width of a text in pixels."""
    return len(text) * _LETTER


def label(y: float, text: str) -> str:
    """The name of a lane, as SVG."""
    shown = text if width_of(text) < _GUTTER else text[: int(_GUTTER / _LETTER) - 1] + "…"
    return f'<text class="name" x="4" y="{y + 17:g}">{escape(shown)}</text>'


def bar(one: Bar, y: float, axis: Axis) -> str:
    """A bar in a lane, with its text if there is room for it."""
    a, b = axis.x(one.since), axis.x(one.until)
    width = max(b - a, 1.5)
    thin = one.look in {"up", "vacant"}
    top, height = (y + 12, 2.0) if thin else (y + 5, _BAR)
    text = ""
    if one.text and width_of(one.text) + 6 < width:
        text = f'<text class="in {one.look}" x="{a + 4:.1f}" y="{y + 16.5:g}">{escape(one.text)}</text>'
    elif one.text and width > 24 and one.text.startswith("#"):
        room = int((width - 8) / _LETTER)
        text = (
            f'<text class="in {one.look}" x="{a + 4:.1f}" y="{y + 16.5:g}">'
            f"{escape(one.text[:room])}</text>"
        )
    title = f"<title>{escape(one.title)}</title>" if one.title else ""
    return (
        f'<g><rect class="{one.look}" x="{a:.1f}" y="{top:g}" width="{width:.1f}"'
        f' height="{height:g}" rx="{0 if thin else 2}">{title}</rect>{text}</g>'
    )


def merged(bars: Iterable[Bar], axis: Axis) -> Iterator[Bar]:
    """Bars that are too narrow to be distinguished, as one bar."""
    several: list[Bar] = []
    for one in bars:
        if several:
            together = (
                several[-1].look == one.look and axis.x(one.since) - axis.x(several[-1].until) < 1.0
            )
            narrow = axis.x(one.until) - axis.x(several[0].since) < 3.0
            if not (together and narrow):
                yield _one_of(several)
                several = []
        several.append(one)
    if several:
        yield _one_of(several)


def _one_of(bars: list[Bar]) -> Bar:
    if len(bars) == 1:
        return bars[0]
    title = "\n".join([f"{len(bars)} of them:", *(one.title for one in bars[:_MOST_TICKS])])
    return Bar(bars[0].since, bars[-1].until, bars[0].look, "", title)


def ticks(all_of: Iterable[Tick], y: float, axis: Axis) -> Iterator[str]:
    """Events below the bars of a lane; events at one position share a tooltip."""
    places: dict[int, list[Tick]] = {}
    for one in all_of:
        places.setdefault(round(axis.x(one.at) / 2), []).append(one)
    for target, some in places.items():
        title = "\n".join(one.title for one in some[:_MOST_TICKS])
        if len(some) > _MOST_TICKS:
            title += f"\n… and {len(some) - _MOST_TICKS} more"
        look = max((one.look for one in some), key=_weight)
        yield (
            f'<rect class="tick {look}" x="{target * 2 - 1.2:.1f}" y="{y + 21:g}" width="2.4"'
            f' height="7"><title>{escape(title)}</title></rect>'
        )


def _weight(look: str) -> int:
    order = ("campaigning", "elected", "resigned", "stopped", "resumed", "suspended", "lost")
    return order.index(look) if look in order else len(order)


def scale(y: float, axis: Axis) -> Iterator[str]:
    """The time scale in seconds."""
    length = axis.until - axis.since
    step = next((one for one in _STEPS if length / one <= 16), 600.0)
    yield f'<line class="axis" x1="{axis.x(axis.since):g}" x2="{WIDTH - _RIGHT:g}" y1="{y:g}" y2="{y:g}"/>'
    number = 0
    while number * step <= length:
        at = number * step
        x = axis.x(axis.since + at)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y:g}" y2="{y + 4:g}"/>'
        yield f'<text class="second" x="{x:.1f}" y="{y + 16:g}">{at:g}{"" if number else " s"}</text>'
        number += 1
