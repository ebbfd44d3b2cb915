"""Event loops for the tests of the asyncio face, which find what a program leaves behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import pytest

from leadership_core import Store, open_store
from tests.support.waiting import at_most

T = TypeVar("T")

LOOPS = ["asyncio", "uvloop"]


class Run(Protocol):
    """Runs a coroutine in a new event loop."""

    def __call__(self, main: Coroutine[Any, Any, T]) -> T: ...


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The function that makes an event loop of that kind."""
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # only here: it has no release for the newest Python for some months each year

    return uvloop.new_event_loop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every warning fails the test: of coroutines that are never awaited, of pending tasks, of open stores."""
    for item in items:
        if "tests/unit/aio/" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.fixture(params=LOOPS)
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of event loop in turn."""
    return str(request.param)


@pytest.fixture
def run(loop_kind: str, caplog: pytest.LogCaptureFixture) -> Iterator[Run]:
    """Run a coroutine in a loop in debug mode; fails if it leaves tasks or unhandled errors."""
    problems: list[object] = []

    def run_main(main: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            loop = asyncio.get_running_loop()
            loop.slow_callback_duration = 60.0
            loop.set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(at_most(20)):
                result = await main
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, "tasks are left"
            return result

        with asyncio.Runner(debug=True, loop_factory=loop_factory(loop_kind)) as runner:
            return runner.run(bounded())

    yield run_main
    gc.collect()
    assert problems == []
    errors = [
        one for one in caplog.records if one.name == "asyncio" and one.levelno >= logging.ERROR
    ]
    assert errors == []


@pytest.fixture
def url() -> str:
    """A store of its own in memory, that several programs may open."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def operator(url: str) -> Iterator[Store]:
    """The same store for threads, in the hands of an operator, who deletes claims."""
    with open_store(url) as opened:
        yield opened
