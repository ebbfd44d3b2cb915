"""Line charts as SVG files that are readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import floor, log10

__all__ = ["Band", "chart"]

Band = tuple[float, float, str]
"""A time in which something went on: its beginning, its end, and its name."""

_WIDTH, _HEIGHT = 900.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 46.0, 38.0
_MOST_POINTS = 900  # of a line; of more, the largest of each group is shown

_STYLE = """
svg.chart { --text: #1d2126; --faint: #6a727c; --line: #dfe2e6; --band: #d9480f;
  --l0: #2563c9; --l1: #b25a00; --l2: #0f8577; --l3: #a02c8f; --l4: #5a6b1a; }
@media (prefers-color-scheme: dark) { svg.chart { --text: #e3e6ea; --faint: #98a1ab;
  --line: #39404a; --band: #ff9e66; --l0: #7fb0ff; --l1: #f0a24b; --l2: #4fd0bd; --l3: #e58bd6;
  --l4: #b9cc63; } }
.chart text { fill: var(--text); font: 12px system-ui, "DejaVu Sans", sans-serif; }
.chart .title { font-weight: 600; font-size: 14px; }
.chart .faint { fill: var(--faint); font-size: 11px; }
.chart .grid { stroke: var(--line); }
.chart .band { fill: var(--band); opacity: .13; }
.chart .curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
"""

Points = Sequence[tuple[float, float]]


def chart(
    title: str,
    lines: Mapping[str, Points],
    *,
    x: str = "s",
    bands: Sequence[Band] = (),
    dashed: Sequence[str] = (),
) -> str:
    """Return an SVG document.

    Args:
        title: what the lines show, with the unit of the vertical axis.
        lines: by name.
        x: the unit of the horizontal axis.
        bands: times to mark.
        dashed: names of lines to draw dashed, such as a limit.
    """
    points = [point for line in lines.values() for point in line]
    first = min((at for at, _ in points), default=0.0)
    last = max((at for at, _ in points), default=1.0)
    last = last if last > first else first + 1.0
    top = _nice(max((value for _, value in points), default=1.0) or 1.0)

    def across(at: float) -> float:
        return _LEFT + (at - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)

    def elements() -> Iterator[str]:
        yield f'<text class="title" x="{_LEFT:g}" y="16">{escape(title)}</text>'
        for since, until, what in bands:
            left, width = across(max(since, first)), across(until) - across(max(since, first))
            yield (
                f'<rect class="band" x="{left:.1f}" y="{_TOP:g}" width="{max(width, 1.5):.1f}"'
                f' height="{_HEIGHT - _TOP - _BOTTOM:g}"><title>{escape(what)}</title></rect>'
            )
        for step in range(5):
            value = top * step / 4
            yield f'<line class="grid" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
            yield f'<text class="faint" text-anchor="end" x="{_LEFT - 6:g}" y="{up(value) + 4:.1f}">{value:,.6g}</text>'
        for step in range(7):
            at = first + (last - first) * step / 6
            text = f"{at:,.4g} {x}" if step == 6 else f"{at:,.4g}"
            yield f'<text class="faint" text-anchor="middle" x="{across(at) - (8 if step == 6 else 0):.1f}" y="{_HEIGHT - 18:g}">{text}</text>'
        place = _LEFT
        for number, (name, line) in enumerate(lines.items()):
            dash = ' stroke-dasharray="5 4"' if name in dashed else ""
            stroke = f'style="stroke: var(--l{number % 5})"{dash}'
            path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in _thin(line))
            yield f'<polyline class="curve" {stroke} points="{path}"><title>{escape(name)}</title></polyline>'
            yield f'<line {stroke} stroke-width="2" x1="{place:.0f}" x2="{place + 18:.0f}" y1="32" y2="32"/>'
            yield f'<text x="{place + 23:.0f}" y="36">{escape(name)}</text>'
            place += 46 + 6.6 * len(name)

    head = (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"'
        f' role="img" aria-label="{escape(title, quote=True)}">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *elements(), "</svg>\n"])


def _thin(line: Points) -> Points:
    if len(line) <= _MOST_POINTS:
        return line
    size = len(line) // _MOST_POINTS + 1
    groups = (line[place : place + size] for place in range(0, len(line), size))
    return [max(group, key=lambda point: point[1]) for group in groups]


def _nice(value: float) -> float:
    """The next larger number that four steps divide well."""
    unit: float = 10.0 ** floor(log10(value))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10, 20) if step * unit >= value)
