"""Charts of the results: SVG without a background, for light and dark pages."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from .results import OURS, Results, Series
from .tables import NAMES, number

__all__ = ["charts_of"]

# Ours first. All are distinct on white and on black, also without red and green.
_COLOURS = ("#2f81f7", "#e08a1e", "#3fb28a", "#b07ae0", "#d9577b", "#8a8f98")
_TEXT_LIGHT, _TEXT_DARK = "#24292f", "#e6edf3"
_SCHEME = (
    f"<style>text{{fill:{_TEXT_LIGHT}!important}}.guides,.axis path{{stroke:#8a8f98!important}}"
    f"@media (prefers-color-scheme: dark){{text{{fill:{_TEXT_DARK}!important}}}}</style>"
)


def charts_of(results: Results) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each chart's file, its description, and the SVG."""
    for store in results.servers:
        series = results.of("handover", store)
        cases = [
            case
            for case in dict.fromkeys(one.case for one in series)
            if any(one.contender != OURS for one in series if one.case == case)
            or "one process" in case
        ]
        if cases:
            name = NAMES.get(store, store)
            title = f"{name}: from a resignation to the next leader, median, ms"
            yield f"handover-{store}.svg", title, _bars(title, cases, series)
    for what, title in (
        ("elected", "Elections in one process: time until it leads all, s"),
        ("idle", "Elections in one process: processor time when idle, % of a core"),
        ("memory", "Elections in one process: resident memory beyond that without elections, MB"),
    ):
        found = [one for one in results.of("scale") if one.case.endswith(f": {what}")]
        if found:
            yield f"scale-{what}.svg", title, _lines(title, found)


def _bars(title: str, cases: Sequence[str], series: Sequence[Series]) -> str:
    """Horizontal bars on a logarithmic axis, since contenders differ by powers of ten."""
    pygal = _pygal()
    names = list(dict.fromkeys(one.contender for one in series))
    chart = pygal.HorizontalBar(
        **_common(title, len(names)),
        height=130 + 17 * len(cases) * max(2, len(names)),
        logarithmic=True,
        print_values=True,
        print_values_position="top",
    )
    chart.value_formatter = _label
    chart.y_labels = _axis([one.summary.median for one in series if one.summary])
    chart.zero = chart.y_labels[0]
    chart.x_labels = list(reversed(cases))
    for name in names:
        values = {
            one.case: one.summary.median for one in series if one.contender == name and one.summary
        }
        chart.add(name, [values.get(case) for case in reversed(cases)])
    return _finish(chart.render(is_unicode=True))


def _lines(title: str, series: Sequence[Series]) -> str:
    pygal = _pygal()
    counts = sorted({_count(one) for one in series})
    chart = pygal.Line(
        **_common(title, len({(one.store, one.contender) for one in series})),
        height=400,
        logarithmic=True,
        dots_size=4,
    )
    chart.value_formatter = _label
    chart.y_labels = _axis([one.summary.median for one in series if one.summary])
    chart.x_labels = [f"{count:,}" for count in counts]
    rows: dict[str, dict[int, float]] = {}
    for one in series:
        name = NAMES.get(one.store, one.store)
        if one.contender != OURS:
            name = f"{name}: {one.contender}"
        if one.summary is not None and one.summary.median > 0:
            rows.setdefault(name, {})[_count(one)] = one.summary.median
    for name, row in rows.items():
        chart.add(name, [row.get(count) for count in counts])
    return _finish(chart.render(is_unicode=True))


def _common(title: str, colours: int) -> dict[str, object]:
    style = _pygal().style.Style(
        background="transparent",
        plot_background="transparent",
        foreground="#8a8f98",
        foreground_strong="#8a8f98",
        foreground_subtle="#8a8f98",
        colors=tuple(_COLOURS[at % len(_COLOURS)] for at in range(max(colours, 1))),
        opacity="1",
        font_family="system-ui, sans-serif",
        title_font_size=15,
        legend_font_size=13,
        label_font_size=12,
        major_label_font_size=12,
        value_font_size=11,
    )
    return {
        "title": title,
        "style": style,
        "width": 860,
        "js": [],
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 3,
        "truncate_legend": 40,
        "truncate_label": 60,
        "show_y_guides": False,
        "no_prefix": True,
        "disable_xml_declaration": True,
    }


def _pygal() -> Any:
    """The library, loaded only when charts are drawn."""
    import pygal

    # It adds a finder of modules for its own plugins, of a kind that Python no longer has: each
    # import that follows would warn.
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal


def _finish(svg: str) -> str:
    """Without scripts, without the random id of the chart, and with colours for both schemes."""
    svg = re.sub(r"<script.*?</script>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"chart-[0-9a-f-]{36}", "chart", svg)
    return svg.replace("</svg>", f"{_SCHEME}</svg>", 1) + "\n"


def _label(value: float | None) -> str:
    return "" if value is None else number(value)


def _axis(values: Sequence[float]) -> list[float]:
    """Labels of a logarithmic axis: powers of ten and the thirds between them, around all values."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    steps = [factor * 10.0**power for power in range(low, max(high, low + 1)) for factor in (1, 3)]
    return [*steps, 10.0 ** max(high, low + 1)]


def _count(one: Series) -> int:
    return int(one.case.split()[0])
