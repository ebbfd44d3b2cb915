"""Properties that hold after every step of a run, and properties that hold at its end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from leadership_core.engine.holdings import Turn
from leadership_core.engine.messages import Phase
from leadership_core.events import Lost, Resigned
from leadership_core.testing import History, check_history
from tests.support.internals import candidate_control, lease_of

from .sim_candidate import ObservedTerm, SimCandidate

if TYPE_CHECKING:
    from .node import Node
    from .run import Run

__all__ = ["Checks"]

_MOST_REQUESTS = 80  # of a process in a second, with its candidates and a follower
_MAY_HAVE_CLAIM = {
    *(Phase.ENTERING, Phase.WAITING, Phase.LEADING, Phase.DRAINING, Phase.WITHDRAWING),
}
_SLACK = 0.35  # seconds that a call may be late: threads are held up now and then


class Checks:
    """The checks of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.terms: list[ObservedTerm] = []
        self.resigned: list[tuple[SimCandidate, int]] = []
        self.most_places = 0  # candidates of one process that had the turn at a time

    def term_began(self, who: SimCandidate, token: int) -> None:
        """A candidate has begun a term, now."""
        try:
            self._check_new_term(who, token)
        except AssertionError as error:  # the product would log it, and go on
            self.run.world.failure = self.run.world.failure or error

    def term_ends(self, who: SimCandidate, event: Lost | Resigned) -> None:
        """A candidate ends its term, now."""
        try:
            who.program.check_end(who.name, event)
        except AssertionError as error:  # as above
            self.run.world.failure = self.run.world.failure or error

    def _check_new_term(self, who: SimCandidate, token: int) -> None:
        run = self.run
        if who.leading_token() != token:
            return  # a pause came in between, and the term was over before it began
        term = ObservedTerm(who.name, token, run.world.now)
        run.world.note(f"{who.name} leads term {token}")
        exempt = run.server.ended_by_operator
        if token not in exempt:
            late = [one for one in self.terms if one.token not in exempt and one.token >= token]
            assert not late, f"tokens do not grow: {late[-1]} and then {term}"
        self.terms.append(term)
        self.after_each()
        for other in run.candidates():
            busy = other.busy
            if busy is None or other is who or {busy.token, token} & exempt:
                continue
            if not other.node.process.dead:
                lease = lease_of(busy)
                assert (
                    other.node.clock() >= min(other.work_until, lease.deadline)
                    or lease.ended_reason
                ), f"{who.name} was elected while the work of {other.name} goes on"

    def after_each(self) -> None:
        """No two candidates lead at a time, except after an operator's interference.

        Moreover, the candidate that leads has the first claim at the server.
        """
        leading = None
        server = self.run.server
        for node in self.run.nodes:
            if node.process.dead:
                continue
            now = node.clock()
            for one in node.candidates:
                token = one.leading_token(now)
                if token is None:
                    continue
                if leading is not None:
                    self._check_overlap(leading, one)
                leading = one
                one.program.check_leader(one.name)
                if token != server.token() and token not in server.ended_by_operator:
                    raise AssertionError(
                        f"{one.name} leads term {token}, and the server has "
                        f"{server.token()} of {server.holders()}"
                    )

    def _check_overlap(self, one: SimCandidate, other: SimCandidate) -> None:
        tokens = (one.leading_token(), other.leading_token())
        # Only the claim of the earlier leader can have been removed while it was valid.
        if not any(token in self.run.server.ended_by_operator for token in tokens):
            raise AssertionError(
                f"two leaders at {self.run.world.now:.4f}: {one.name} in term {tokens[0]}, "
                f"{other.name} in term {tokens[1]}"
            )

    def check_duration(self, who: SimCandidate, what: str, begun: float, limit: float) -> None:
        """A call that began at that time of the process's clock returns now: is it in time?"""
        node = who.node
        took = node.clock() - begun - node.process.paused(begun)
        assert took <= limit + _SLACK, (
            f"{what} of {who.name} took {took:.2f} s, {limit:.2f} s are allowed"
        )

    # -- at the end --------------------------------------------------------------------------

    def leader(self) -> SimCandidate | None:
        """The candidate that leads now, if the server agrees."""
        server = self.run.server
        token = server.token()
        if token is None or token in server.ended_by_operator:
            return None
        return next((one for one in self.run.candidates() if one.leading_token() == token), None)

    def check_one_leader(self) -> None:
        """At most one candidate leads; an operator's interference has been noticed by now."""
        leaders = [one.name for one in self.run.candidates() if one.leading_token() is not None]
        assert len(leaders) <= 1, f"{leaders} lead although all is well"

    def check_places(self, node: Node) -> None:
        """So many candidates of the process have the turn, with which they make claims."""
        holders = [
            one.name
            for one in node.candidates
            if one.candidate is not None
            and candidate_control(one.candidate)._driver._machine.turn is Turn.HELD
        ]
        self.most_places = max(self.most_places, len(holders))
        places = self.run.backend.places
        if len(holders) > places:
            error = AssertionError(f"{holders} have the turn at a time, not {places}")
            self.run.world.failure = self.run.world.failure or error

    def check_queues(self) -> None:
        """Where a candidate waits for another one of its process, that one may have a claim."""
        for node in self.run.nodes:
            if node.process.dead or node.closing or not node.started():
                continue
            phases = {
                one.name: candidate_control(one.started).debug_state().phase
                for one in node.candidates
            }
            waits = Phase.QUEUED in phases.values()
            assert not waits or _MAY_HAVE_CLAIM & set(phases.values()), (
                f"the turn is lost: {phases}"
            )

    def check_resigned(self) -> None:
        """No term that was resigned is the server's present one."""
        token = self.run.server.token()
        for who, resigned in self.resigned:
            assert token != resigned, f"{who.name} resigned term {resigned}, and its claim remains"

    def check_followers(self) -> None:
        """All see the present leader, and never saw an older one after a newer one."""
        leader = self.leader()
        assert leader is not None
        token = leader.leading_token()
        for node in self.run.nodes:
            if node.process.dead or node.closing or not node.seen:
                continue
            last = node.seen[-1]
            assert last is not None, f"{node.process.name} sees no leader but {leader.name} leads"
            assert (last.value, last.token) == (leader.name, token), (
                f"{node.process.name} sees {last!r}, and {leader.name} leads term {token}"
            )
            tokens = [one.token for one in node.seen if one is not None]
            grown = all(a <= b for a, b in itertools.pairwise(tokens))
            assert grown, f"{node.process.name} saw tokens {tokens}"

    def check_events(self) -> None:
        """The events of each candidate are in order, and end if and only if it was stopped."""
        history = History()
        for one in self.run.candidates():
            for event in one.events:
                history.observe(one.name, event)
            if one.ended and not one.node.process.dead:
                assert one.heard == one.events, f"{one.name} has called its listener out of order"
            stopped = any(event.name == "stopped" for event in one.events)
            if one.stopped and not one.node.process.dead:
                history.end(one.name)
                assert one.ended, f"the events of {one.name} do not end"
            else:
                assert not stopped, f"{one.name} reports that it has stopped, but was not stopped"
        faults = check_history(history)
        assert not faults, faults[0]

    def check_request_rates(self) -> None:
        """No process floods the server with requests."""
        for node in self.run.nodes:
            worst = max(node.link.sent.values(), default=0)
            assert worst <= _MOST_REQUESTS, (
                f"{node.process.name} sent {worst} requests in one second"
            )
