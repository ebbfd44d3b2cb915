"""The real threads that all simulated ones run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .hosts import Hosts


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    yield made
    made.close()
