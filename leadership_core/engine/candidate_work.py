"""Work for the terms of a candidate: it holds the release back until it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..backend.validation import refuse_unrun
from ..errors import LeadershipLost
from ..term import Term
from .candidate_control import CandidateControl
from .candidate_state import CurrentTerm
from .deferred_exit import uninterrupted

__all__ = ["lead", "working"]


def lead(control: CandidateControl, work: Callable[[Term], object], cooldown: float) -> None:
    """Call the work for each term, until the candidate is stopped; see `Candidate.lead`."""

    def end(
        current: CurrentTerm, worker: object, *, cooldown: float = 0.0, stop: bool = False
    ) -> None:
        if control.forked:
            return
        control.end_work(current, worker)
        if stop:
            uninterrupted(control.stop)(None)
        elif not current.term.lost:
            uninterrupted(control.resign)(cooldown)

    while (current := control.await_elected(None)) is not None:
        term = current.term
        worker = object()
        if not current.state.begin_work(worker):
            control.end_work(current, worker)
            continue
        try:
            refuse_unrun("work", work, work(term))
        except LeadershipLost:
            if not term.lost:
                end(current, worker, stop=True)
                raise
            end(current, worker)
        except BaseException:
            end(current, worker, stop=True)
            raise
        else:
            end(current, worker, cooldown=cooldown)


@contextmanager
def working(control: CandidateControl, *, required: bool = True) -> Iterator[Term | None]:
    """Hold the release of the present term back while entered; see `Candidate.working`.

    Args:
        control: of the candidate.
        required: raise `NotElected` if it does not lead; otherwise the block gets None.
    """
    control.fork_guard()
    worker = object()
    current = control.valid_term
    lost = None
    try:
        if current is not None and current.state.begin_work(worker):
            yield current.term
            lost = control.loss_of(current)
        elif required:
            raise control.not_leading()
        else:
            yield None
    finally:
        if current is not None and not control.forked:
            control.end_work(current, worker)
    if lost is not None:
        raise lost
