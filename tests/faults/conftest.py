"""The fixture that every scenario asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stand import Stand

__all__ = ["Stand"]


@pytest.fixture
def stand(
    kind: str, unique_key: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Stand]:
    """A place for one election under faults."""
    made = Stand(kind, unique_key, tmp_path, request)
    try:
        yield made
        assert made._finished, "a scenario ends with finish()"
    finally:
        made.close()
