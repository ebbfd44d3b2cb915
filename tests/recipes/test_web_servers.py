"""The recipes for web servers with several workers."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import SetUp
from tests.recipes.handover import check_handovers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("name", ["fastapi", "gunicorn"])
def test_leading_worker_is_replaced(name: str, set_up: SetUp, file_url: str) -> None:
    """SIGTERM to the server hands over at once, SIGKILL to the worker that leads after the ttl."""
    check_handovers(set_up(name, file_url))
