"""Cases of `Follower`."""

from __future__ import annotations

import threading

from ...backend.clock import now
from ...candidate import Candidate
from ...follower import Follower
from ..manual_candidate import ManualCandidate
from ..recorders import DEFAULT_WAIT
from ..sandbox import Sandbox
from .assertions import is_equal, is_true
from .candidates import elected

__all__ = ["FollowerCases"]


class FollowerCases:
    """`Follower`."""

    def test_follower_reports_the_first_leader(self, sandbox: Sandbox) -> None:
        """It reports no leader before the first election, then the leader, then no leader again."""
        key = sandbox.key("deep/leader")
        follower = Follower(sandbox.open(), key)
        leaders = follower.follow_election()
        is_equal(next(leaders), None, "the first value")
        candidate = Candidate(sandbox.open(), key, "underwood", ttl=sandbox.ttl)
        term = elected(candidate)
        leader = next(leaders)
        assert leader is not None, "None came twice"
        is_equal((str(leader), leader.token), ("underwood", term.token), "the leader")
        assert sandbox.eventually(lambda: follower.leader == leader), f"{follower.leader}"
        is_true(candidate.stop(), "stop")
        is_equal(next(leaders), None, "the value after the leader has stopped")
        follower.stop()
        is_equal(list(leaders), [], "values after stop")

    def test_follower_that_starts_late_reports_no_stale_leader(self, sandbox: Sandbox) -> None:
        """After the only leader has stopped or crashed, a new follower reports no leader."""
        key = sandbox.key("leader")
        candidate = Candidate(sandbox.open(), key, "gone", ttl=sandbox.ttl)
        elected(candidate)
        is_true(candidate.stop(), "stop")
        follower = Follower(sandbox.open(), key)
        is_equal(next(follower.follow_election()), None, "after a leader that has stopped")

        dead = ManualCandidate(sandbox, key, b"dead", session=sandbox.session(ttl=sandbox.ttl))
        assert dead.leads(), "the only candidate does not lead"
        assert follower.wait_leader(DEFAULT_WAIT), "a new leader was not seen"
        gone = sandbox.eventually(lambda: follower.leader is None, sandbox.expiry)
        assert gone, "a leader is reported whose session has expired"
        late = Follower(sandbox.open(), key)
        if sandbox.expires_by_observation:
            late.follow_election()  # nothing has ended the session, and this one has not observed it yet
            gone = sandbox.eventually(lambda: late.leader is None, sandbox.expiry)
            assert gone, "a follower that has observed the ttl reports a leader that has died"
        else:
            is_equal(next(late.follow_election()), None, "after a leader that has died")
        follower.stop()
        late.stop()

    def test_follower_reports_every_lasting_leader(self, sandbox: Sandbox) -> None:
        """It also reports a leader that is elected again under the same name; the tokens grow."""
        key = sandbox.key("leader")
        follower = Follower(sandbox.open(), key)
        follower.follow_election()
        pair = [Candidate(sandbox.open(), key, "same", ttl=sandbox.ttl) for _ in range(2)]
        seen = []
        for number in range(4):
            candidate = pair[number // 2]
            term = elected(candidate)

            def is_seen(token: int = term.token) -> bool:
                return follower.leader is not None and follower.leader.token == token

            assert sandbox.eventually(is_seen), f"token {term.token} not seen: {follower.leader}"
            seen.append(follower.leader)
            is_true(candidate.resign(DEFAULT_WAIT if number % 2 else 0), "resign")
        is_equal(len(set(seen)), 4, f"different leaders among {seen}")
        for one in pair:
            is_true(one.stop(), "stop")
        assert sandbox.eventually(lambda: follower.leader is None), f"{follower.leader} has stopped"
        follower.stop()

    def test_follower_stops_at_once(self, sandbox: Sandbox) -> None:
        """Its iterators end although nothing changes in the store."""
        follower = Follower(sandbox.open(), sandbox.key("leader"))
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
        assert over.wait(DEFAULT_WAIT), "an iterator goes on after stop"
        assert now() - begun < 1, f"stopping took {now() - begun:.1f} s"
        thread.join()
        is_equal(follower.wait_leader(0.1), None, "the leader after stop")
