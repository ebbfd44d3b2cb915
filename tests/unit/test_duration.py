"""The parser of durations."""

from __future__ import annotations

import pytest

from leadership_core.backend.duration import parse_duration
from leadership_core.backend.url import StoreURL, as_seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("15", 15.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-1", -1.0),
        ("15s", 15.0),
        ("500ms", 0.5),
        ("1m", 60.0),
        ("1m30s", 90.0),
        ("1.5m", 90.0),
        (".5h", 1800.0),
        ("1h0m0s", 3600.0),
    ],
)
def test_duration_is_a_number_or_numbers_with_units(text: str, wanted: float) -> None:
    """A number without a unit is in seconds."""
    assert parse_duration(text) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "text",
    ["", "s", "5 s", "5d", "1m30", "-5s", "1e3s", "nan", "inf", "5S", "1,5s", "५s", "9" * 400],
)
def test_duration_rejects_other_text(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="not a"):
        parse_duration(text)


def test_options_of_urls_take_units() -> None:
    """The same parser reads all durations in URLs."""
    url = StoreURL.parse("consul://h?lock_delay=500ms")

    assert url.read_options({"lock_delay": as_seconds}) == {"lock_delay": 0.5}
