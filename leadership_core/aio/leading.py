"""Blocks and work of a leader: they last for one term, and are cancelled when it is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType

from ..backend.validation import safe_repr
from ..engine.candidate_control import CandidateControl
from ..engine.candidate_state import CurrentTerm
from ..engine.open_store import OpenStore
from ..errors import ConfigurationError, LeadershipLost
from .term import Term, asyncio_term
from .term_work import TermWork, current_task, works_for
from .waiting import begin, run

__all__ = ["Leading", "Working", "work_for"]


class _Block(ABC):
    """An asynchronous context manager around work for one term; may be entered once.

    Args:
        control: of the candidate.
        opened: its store.
    """

    def __init__(self, control: CandidateControl, opened: OpenStore) -> None:
        self._control = control
        self._opened = opened
        self._work: TermWork | None = None

    @abstractmethod
    async def __aenter__(self) -> Term: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._work is not None
        lost = self._work.end(error)
        await self._leave(error)
        if lost is not None:
            raise lost

    @abstractmethod
    async def _leave(self, error: BaseException | None) -> None:
        """Give up what the block was given."""


class Working(_Block):
    """See `Candidate.working`.

    Args:
        control: of the candidate.
        opened: its store.
        current: the term; by default the one at the beginning of the block.
    """

    def __init__(
        self, control: CandidateControl, opened: OpenStore, current: CurrentTerm | None = None
    ) -> None:
        super().__init__(control, opened)
        self._current = current

    async def __aenter__(self) -> Term:
        self._opened.fork_guard()
        current = self._current or self._control.valid_term
        if current is None:
            raise self._control.not_leading()
        self._work = TermWork(self._control, self._opened, current, is_block=False)
        return asyncio_term(current)

    async def _leave(self, error: BaseException | None) -> None:
        """Nothing: the end of the work was noted, and the term may go on."""


class Leading(_Block):
    """See `Candidate.leading`.

    Args:
        control: of the candidate.
        opened: its store.
        timeout: seconds, or None.
        prepare: called before the candidate is started.
    """

    def __init__(
        self,
        control: CandidateControl,
        opened: OpenStore,
        timeout: float | None,
        prepare: Callable[[], None],
    ) -> None:
        super().__init__(control, opened)
        self._timeout = timeout
        self._prepare = prepare

    async def __aenter__(self) -> Term:
        current_task()  # raises before there is anything to undo
        try:
            self._prepare()
            self._control.start()
            current = await run(self._control.awaiting_election(self._timeout))
            if current is None:
                raise self._control.not_elected(self._timeout)
            self._work = TermWork(self._control, self._opened, current, is_block=True)
        except BaseException as error:
            await self._leave(error)
            raise
        return asyncio_term(current)

    async def _leave(self, error: BaseException | None) -> None:
        if self._opened.forked:
            return
        if isinstance(error, GeneratorExit):  # the loop has ended before the task: it cannot await
            begin(self._control.leaving())
        else:
            await run(self._control.leaving(works_here=works_for(self._control)))


async def work_for(
    work: Callable[[Term], Awaitable[object]],
    control: CandidateControl,
    opened: OpenStore,
    current: CurrentTerm,
) -> None:
    """Await the work of `Candidate.lead` for one term; returns, too, if the term is lost meanwhile.

    Args:
        work: the coroutine function of the program.
        control: of the candidate.
        opened: its store.
        current: the term.
    """
    term = asyncio_term(current)
    scope = TermWork(control, opened, current, is_block=False)
    try:
        result = work(term)
        if not isinstance(result, Awaitable):
            raise ConfigurationError(
                f"work(term) must be a coroutine function, and {safe_repr(work)} has returned "
                f"a {type(result).__name__}"
            )
        await result
    except BaseException as error:
        own = isinstance(error, LeadershipLost) and term.lost
        if scope.end(error) is None and not own:
            raise
    else:
        scope.end(None)
