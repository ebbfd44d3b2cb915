"""What must hold at every instant of a run, and what must hold at its end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from leadership_core.events import (
    Campaigning,
    Elected,
    Lost,
    Resigned,
    Resumed,
    Stopped,
    StoreDown,
    StoreUp,
    Suspended,
)

from .contender import Contender, Reign

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Checks"]

_MOST_REQUESTS = 80  # of a process in a second, with two candidates and a follower
_SLACK = 0.35  # seconds that a call may be late: threads are held up now and then


class Checks:
    """Looks at one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.reigns: list[Reign] = []
        self.resigned: list[tuple[Contender, int]] = []
        self.most_believers = 0

    def began(self, who: Contender, token: int) -> None:
        """A term has begun, now."""
        try:
            self._began(who, token)
        except AssertionError as error:  # the product would log it, and go on
            self.run.world.failure = self.run.world.failure or error

    def _began(self, who: Contender, token: int) -> None:
        run = self.run
        reign = Reign(who.name, token, run.world.now)
        if who.believes() != token:
            return  # it was over before it began: a pause came in between, and nobody believes
        run.world.note(f"{who.name} believes in term {token}")
        if token not in run.server.by_hand:
            earlier = [one for one in self.reigns if one.token not in run.server.by_hand]
            late = [one for one in earlier if one.token >= token]
            assert not late, f"tokens do not grow: {late[-1]} and then {reign}"
        self.reigns.append(reign)
        who.reigns.append(reign)
        self.after_each()
        for other in run.contenders():
            busy = other.busy
            if busy is None or other is who or busy.token in run.server.by_hand:
                continue
            if token not in run.server.by_hand and not other.node.process.dead:
                until = min(other.work_until, busy._state.lease.deadline)
                assert other.node.clock() >= until or busy._state.lease.over, (
                    f"{who.name} was elected while the work of {other.name} goes on"
                )

    def after_each(self) -> None:
        """Two never believe at a time, other than where somebody has meddled.

        More than that: who believes has the claim that stands first at the server.
        """
        believing = None
        server = self.run.server
        for node in self.run.nodes:
            process = node.process
            if process.dead:
                continue
            local = process.offset + process.rate * self.run.world.now
            for one in node.contenders:
                candidate = one.__dict__.get("candidate")
                if candidate is None:
                    continue
                reign = candidate._tenure.reign
                if reign is None or reign.state.ended:
                    continue
                term, lease = reign.term, reign.state.lease
                if lease.over is None and local < lease.deadline:
                    if believing is not None:
                        self._two(believing, one)
                    believing = one
                    if term.token != server.token() and term.token not in server.by_hand:
                        raise AssertionError(
                            f"{one.name} believes in term {term.token}, and the server has "
                            f"{server.token()} of {server.holders()}"
                        )

    def _two(self, one: Contender, other: Contender) -> None:
        tokens = (one.believes(), other.believes())
        by_hand = self.run.server.by_hand
        # Only the earlier one's claim can have been taken away while it stood.
        if not any(token in by_hand for token in tokens):
            raise AssertionError(
                f"two believe at {self.run.world.now:.4f}: {one.name} in term {tokens[0]}, "
                f"{other.name} in term {tokens[1]}"
            )

    def bounded(self, who: Contender, what: str, begun: float, limit: float) -> None:
        """A call of the user has returned: in time?"""
        node = who.node
        took = node.clock() - begun - self.run.held_up(node, begun)
        assert took <= limit + _SLACK, (
            f"{what} of {who.name} took {took:.2f} s, {limit:.2f} s are allowed"
        )

    # -- at the end --------------------------------------------------------------------------

    def leader(self) -> Contender | None:
        """Who believes now, and is right."""
        server = self.run.server
        token = server.token()
        if token is None or token in server.by_hand:
            return None
        for one in self.run.contenders():
            if hasattr(one, "candidate") and one.believes() == token:
                return one
        return None

    def believers(self) -> list[str]:
        """Who believes now."""
        return [one.name for one in self.run.contenders() if one.believes() is not None]

    def resigns(self) -> None:
        """No term that was resigned stands."""
        token = self.run.server.token()
        for who, resigned in self.resigned:
            assert token != resigned, f"{who.name} resigned term {resigned}, and it still stands"

    def followers(self) -> None:
        """All see the leader that there is, and saw only later ones before."""
        leader = self.leader()
        assert leader is not None
        for node in self.run.nodes:
            if node.process.dead or node.closing or not node.seen:
                continue
            last = node.seen[-1]
            token = leader.believes()
            assert last is not None, f"{node.process.name} sees no leader but {leader.name} leads"
            assert (last.value, last.token) == (leader.name, token), (
                f"{node.process.name} sees {last!r}, and {leader.name} leads term {token}"
            )
            tokens = [one.token for one in node.seen if one is not None]
            grown = all(a <= b for a, b in itertools.pairwise(tokens))
            assert grown, f"{node.process.name} saw tokens {tokens}"

    def stories(self) -> None:
        """The events of each candidate are in order."""
        for one in self.run.contenders():
            _check_story(one)

    def rates(self) -> None:
        """Nobody hammers the server."""
        for node in self.run.nodes:
            worst = max(node.link.sent.values(), default=0)
            assert worst <= _MOST_REQUESTS, (
                f"{node.process.name} sent {worst} requests in one second"
            )


def _check_story(one: Contender) -> None:
    campaigning = leading = down = suspended = stopped = False
    for event in one.told:
        sound = not stopped
        match event:
            case Campaigning():
                sound &= not leading and not campaigning
                campaigning = True
            case Elected():
                sound &= campaigning and not leading
                leading, suspended = True, False
            case Lost() | Resigned():
                sound &= leading
                leading = suspended = campaigning = False
            case Suspended():
                sound &= leading and not suspended
                suspended = True
            case Resumed():
                sound &= suspended
                suspended = False
            case StoreDown():
                sound &= not down
                down = True
            case StoreUp():
                sound &= down
                down = False
            case Stopped():
                sound &= not leading
                stopped = True
        assert sound, f"{one.name} tells {event!r} out of turn: {[e.name for e in one.told]}"
    if one.stopped and not one.node.process.dead:
        assert stopped, f"{one.name} was stopped and does not say so"
        assert one.ended, f"the events of {one.name} do not end"
    else:
        assert not stopped, f"{one.name} says that it has stopped, and nobody has asked it to"
