from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fuzz.oracles import SECRET


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The log of each test must not contain the secret."""
    caplog.set_level(logging.DEBUG, "leadership")
    caplog.set_level(logging.DEBUG, "leadership_consul")
    yield
    for record in caplog.get_records("call"):
        text = logging.Formatter("%(message)s").format(record)  # with its traceback
        assert SECRET not in text, text
