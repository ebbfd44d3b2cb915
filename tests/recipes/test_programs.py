"""The recipes that are programs of their own."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import SetUp
from tests.recipes.handover import check_handovers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("name", ["apscheduler", "django"])
def test_leader_is_replaced(name: str, set_up: SetUp, file_url: str) -> None:
    """SIGTERM hands over at once, SIGKILL after the ttl, and each term's work is done once."""
    check_handovers(set_up(name, file_url))
