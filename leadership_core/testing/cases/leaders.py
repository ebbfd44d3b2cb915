"""Cases of `leader` and `watch_leader`: what followers read."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..manual_candidate import ManualCandidate
from ..recorders import WatchRecorder
from ..sandbox import Sandbox
from .assertions import is_equal, is_vacant

__all__ = ["LeaderCases"]


class LeaderCases:
    """`leader` and `watch_leader` of an election."""

    def test_leader_is_none_without_a_candidate(self, sandbox: Sandbox) -> None:
        """An election without any candidate, and one that all candidates have left, has no leader."""
        key = sandbox.key("leader")
        is_equal(sandbox.store.leader(key), None, "the leader of an election that never was")
        manual = ManualCandidate(sandbox, key)
        assert manual.leads(), "the only candidate does not lead"
        assert sandbox.store.leader(key) is not None, "no leader is seen although one leads"
        manual.withdraw()
        is_equal(sandbox.store.leader(key), None, "the leader when the only one has left")
        is_equal(sandbox.open().leader(key), None, "the same as another connection sees it")

    def test_leader_is_none_after_its_session_ended(self, sandbox: Sandbox) -> None:
        """A leader whose session was closed or has expired is not reported any more."""
        for ends in ("closed", "expired"):
            key = sandbox.key("leader")
            manual = ManualCandidate(sandbox, key, session=sandbox.session(ttl=sandbox.ttl))
            assert manual.leads(), "the only candidate does not lead"
            if ends == "closed":
                manual.session.close()
                is_equal(sandbox.store.leader(key), None, "the leader after its session was closed")
            else:
                gone = sandbox.eventually(partial(is_vacant, sandbox, key), sandbox.expiry)
                assert gone, "a leader is reported whose session has expired"

    def test_leader_watch_reports_every_lasting_leader(self, sandbox: Sandbox) -> None:
        """It reports None before the first election, each leader, and None at the end."""
        key, recorder, other = sandbox.key("leader"), WatchRecorder(), sandbox.open()
        sandbox.at_end(other.election(key).watch_leader(recorder).close)
        assert recorder.last_is(None), f"no leader yet: {recorder}"
        first, second = (
            ManualCandidate(sandbox, key, b"first"),
            ManualCandidate(sandbox, key, b"second"),
        )
        assert first.leads(), "the first candidate does not lead"
        assert recorder.last(_is_led_by(first)), f"the first one leads: {recorder}"
        assert second.waits(), "the second candidate does not wait"
        first.withdraw()
        assert second.leads(), "the second candidate does not lead"
        assert recorder.last(_is_led_by(second)), f"the second one leads: {recorder}"
        second.session.close()
        assert recorder.last_is(None), f"no leader any more: {recorder}"
        tokens = [leader.token for leader in recorder.states if leader is not None]
        is_equal(tokens, sorted(tokens), "tokens in the order of the reports")

    def test_leader_watch_begins_with_the_present_leader(self, sandbox: Sandbox) -> None:
        """The first report to a late follower is the present leader."""
        key, recorder = sandbox.key("leader"), WatchRecorder()
        leader = ManualCandidate(sandbox, key, b"leader")
        assert leader.leads(), "the only candidate does not lead"
        sandbox.at_end(sandbox.store.election(key).watch_leader(recorder).close)
        assert recorder.last(_is_led_by(leader)), f"the reported leaders: {recorder}"
        assert recorder.states[0] is not None, f"first report: {recorder}"

    def test_leader_elected_again_has_another_token(self, sandbox: Sandbox) -> None:
        """The same name with the same session gets a new token, which the watch reports."""
        key, recorder, store = sandbox.key("leader"), WatchRecorder(), sandbox.open()
        sandbox.at_end(sandbox.store.election(key).watch_leader(recorder).close)
        session, seen = sandbox.session(store), []
        for _ in range(3):
            leader = ManualCandidate(sandbox, key, b"same", store=store, session=session)
            assert leader.leads(), f"it does not lead again: {leader.status()}"
            assert recorder.last(_is_led_by(leader)), (
                f"token {leader.token} was not reported: {recorder}"
            )
            seen.append(sandbox.store.leader(key))
            leader.withdraw()
        assert len(set(seen)) == len(seen), f"two terms are one leader: {seen}"

    def test_leader_value_may_be_any_bytes(self, sandbox: Sandbox) -> None:
        """Empty values, Unicode, and bytes that are no UTF-8 are reported as they were written."""
        store = sandbox.open()
        session = sandbox.session(store)
        for value in (b"", "zürich 日本 \U0001f600".encode(), b"\xff\xfe\x00 {json?}", b"x" * 4096):
            key, recorder = sandbox.key("leader"), WatchRecorder()
            sandbox.at_end(sandbox.store.election(key).watch_leader(recorder).close)
            leader = ManualCandidate(sandbox, key, value, store=store, session=session)
            assert leader.leads(), f"it does not lead with the value {value[:20]!r}"
            found = sandbox.store.leader(key)
            assert found is not None, f"no leader with the value {value[:20]!r}"
            is_equal(found.value.encode("utf-8", "surrogateescape"), value, "the leader's value")
            assert recorder.last(_is_led_by(leader)), f"the watch: {recorder}"
            leader.withdraw()

    def test_leader_watch_is_silent_after_close(self, sandbox: Sandbox) -> None:
        """Closing it twice is harmless, and another watch goes on."""
        key, closed, goes_on = sandbox.key("leader"), WatchRecorder(), WatchRecorder()
        watch = sandbox.store.election(key).watch_leader(closed)
        sandbox.at_end(sandbox.store.election(key).watch_leader(goes_on).close)
        assert closed.last_is(None), f"no leader yet: {closed}"
        watch.close()
        watch.close()
        leader = ManualCandidate(sandbox, key, b"leader")
        assert leader.leads(), "the only candidate does not lead"
        assert goes_on.last(_is_led_by(leader)), f"the watch that goes on: {goes_on}"
        is_equal(closed.states, [None], "reports of the closed watch")


def _is_led_by(manual: ManualCandidate) -> Any:
    return lambda last: last is not None and last.token == manual.token
