"""Followers: what users hold who only want to know."""

from __future__ import annotations

import threading

from ...candidate import Candidate
from ...clock import now
from ...follower import Follower
from ..contender import Contender
from ..heard import PATIENCE
from ..lab import Lab
from .candidates import elected
from .expectations import is_equal, is_true

__all__ = ["FollowerCases"]


class FollowerCases:
    """`Follower`."""

    def test_a_follower_may_be_first(self, lab: Lab) -> None:
        """Before anybody ever stood it reports nobody; then the leader; then nobody again."""
        key = lab.key("deep/leader")
        follower = Follower(lab.open(), key)
        leaders = follower.follow_election()
        is_equal(next(leaders), None, "the first value")
        candidate = Candidate(lab.open(), key, "underwood", ttl=lab.ttl)
        term = elected(candidate)
        leader = next(leaders)
        assert leader is not None, "None came twice"
        is_equal((str(leader), leader.token), ("underwood", term.token), "the leader")
        assert lab.eventually(lambda: follower.leader == leader), f"{follower.leader}"
        is_true(candidate.stop(), "stop")
        is_equal(next(leaders), None, "the value after the leader has stopped")
        follower.stop()
        is_equal(list(leaders), [], "values after stop")

    def test_a_late_follower_sees_no_stale_leader(self, lab: Lab) -> None:
        """The only leader has gone, in order or without a word: what it left behind is nobody."""
        key = lab.key("leader")
        candidate = Candidate(lab.open(), key, "gone", ttl=lab.ttl)
        elected(candidate)
        is_true(candidate.stop(), "stop")
        follower = Follower(lab.open(), key)
        is_equal(next(follower.follow_election()), None, "after a leader that has stopped")

        dead = Contender(lab, key, b"dead", session=lab.session(ttl=lab.ttl))
        assert dead.leads(), "the only contender leads"
        assert follower.wait_leader(PATIENCE), "a new leader was not seen"
        gone = lab.eventually(lambda: follower.leader is None, lab.expiry)
        assert gone, "a leader is reported whose session has expired"
        late = Follower(lab.open(), key)
        is_equal(next(late.follow_election()), None, "after a leader that has died")
        follower.stop()
        late.stop()

    def test_a_follower_sees_every_lasting_leader(self, lab: Lab) -> None:
        """Also one that is elected again under the same name; tokens grow as it sees them."""
        key = lab.key("leader")
        follower = Follower(lab.open(), key)
        follower.follow_election()
        pair = [Candidate(lab.open(), key, "same", ttl=lab.ttl) for _ in range(2)]
        seen = []
        for number in range(4):
            candidate = pair[number // 2]
            term = elected(candidate)

            def is_seen(token: int = term.token) -> bool:
                return follower.leader is not None and follower.leader.token == token

            assert lab.eventually(is_seen), f"token {term.token} not seen: {follower.leader}"
            seen.append(follower.leader)
            is_true(candidate.resign(PATIENCE if number % 2 else 0), "resign")
        is_equal(len(set(seen)), 4, f"different leaders among {seen}")
        for one in pair:
            is_true(one.stop(), "stop")
        assert lab.eventually(lambda: follower.leader is None), f"{follower.leader} has stopped"
        follower.stop()

    def test_a_follower_stops_at_once(self, lab: Lab) -> None:
        """Whoever iterates over it comes to the end, although nothing changes in the store."""
        follower = Follower(lab.open(), lab.key("leader"))
        leaders, over = follower.follow_election(), threading.Event()

        def follow() -> None:
            for _ in leaders:
                pass
            over.set()

        thread = threading.Thread(target=follow)
        thread.start()
        is_equal(follower.wait_leader(0.1), None, "the leader")
        begun = now()
        follower.stop()
        follower.stop()
        assert over.wait(PATIENCE), "an iterator goes on after stop"
        assert now() - begun < 1, f"stopping took {now() - begun:.1f} s"
        thread.join()
        is_equal(follower.wait_leader(0.1), None, "the leader after stop")
