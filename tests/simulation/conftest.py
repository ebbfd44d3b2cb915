"""Fixture: the real threads of a simulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .carrier_threads import CarrierThreads


@pytest.fixture(scope="module")
def carriers() -> Iterator[CarrierThreads]:
    made = CarrierThreads()
    yield made
    made.close()
