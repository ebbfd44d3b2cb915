"""Who leads, as those see it who do not stand."""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..heard import Heard
from ..lab import Lab
from .expectations import is_equal

__all__ = ["LeaderCases"]


class LeaderCases:
    """`leader` and `watch_leader` of a race."""

    def test_no_leader_is_none(self, lab: Lab) -> None:
        """Of an election that nobody ever stood in, and of one that everybody has left."""
        key = lab.key("leader")
        is_equal(lab.store.leader(key), None, "the leader of an election that never was")
        contender = Contender(lab, key)
        assert contender.leads(), "the only contender leads"
        assert lab.store.leader(key) is not None, "no leader is seen although one leads"
        contender.withdraw()
        is_equal(lab.store.leader(key), None, "the leader when the only one has left")
        is_equal(lab.open().leader(key), None, "the same as another connection sees it")

    def test_a_leader_ends_with_its_session(self, lab: Lab) -> None:
        """Closed or expired: what it has written does not go on to be reported as the leader."""
        for ends in ("closed", "expired"):
            key = lab.key("leader")
            contender = Contender(lab, key, session=lab.session(ttl=lab.ttl))
            assert contender.leads(), "the only contender leads"
            if ends == "closed":
                contender.session.close()
                is_equal(lab.store.leader(key), None, "the leader after its session was closed")
            else:
                gone = lab.eventually(lambda key=key: lab.store.leader(key) is None, lab.expiry)  # type: ignore[misc]
                assert gone, "a leader is reported whose session has expired"

    def test_a_watch_tells_every_last_leader(self, lab: Lab) -> None:
        """None at first, before anybody stood; then who leads; None or the next one; None."""
        key, heard, other = lab.key("leader"), Heard(), lab.open()
        lab.at_end(other.election(key).watch_leader(heard).close)
        assert heard.last_is(None), f"no leader yet: {heard}"
        first, second = Contender(lab, key, b"first"), Contender(lab, key, b"second")
        assert first.leads(), "the first contender leads"
        assert heard.last(_is_led_by(first)), f"the first one leads: {heard}"
        assert second.waits(), "the second contender waits"
        first.withdraw()
        assert second.leads(), "the second contender leads"
        assert heard.last(_is_led_by(second)), f"the second one leads: {heard}"
        second.session.close()
        assert heard.last_is(None), f"nobody leads any more: {heard}"
        tokens = [leader.token for leader in heard.states if leader is not None]
        is_equal(tokens, sorted(tokens), "tokens in the order in which they were told")

    def test_a_watch_begins_with_the_leader_of_now(self, lab: Lab) -> None:
        """The first thing that a late follower is told is who leads."""
        key, heard = lab.key("leader"), Heard()
        leader = Contender(lab, key, b"leader")
        assert leader.leads(), "the only contender leads"
        lab.at_end(lab.store.election(key).watch_leader(heard).close)
        assert heard.last(_is_led_by(leader)), f"who leads: {heard}"
        assert heard.states[0] is not None, f"told first: {heard}"

    def test_a_leader_elected_again_is_another_one(self, lab: Lab) -> None:
        """The same name, the same session, and yet a new token, of which the watch tells."""
        key, heard, store = lab.key("leader"), Heard(), lab.open()
        lab.at_end(lab.store.election(key).watch_leader(heard).close)
        session, seen = lab.session(store), []
        for _ in range(3):
            leader = Contender(lab, key, b"same", store=store, session=session)
            assert leader.leads(), f"it does not lead again: {leader.standing()}"
            assert heard.last(_is_led_by(leader)), f"token {leader.token} was not told: {heard}"
            seen.append(lab.store.leader(key))
            leader.withdraw()
        assert len(set(seen)) == len(seen), f"two terms are one leader: {seen}"

    def test_any_bytes_can_be_the_value(self, lab: Lab) -> None:
        """Empty, Unicode, and bytes of a program that knows no UTF-8 come back as they were."""
        store = lab.open()
        session = lab.session(store)
        for value in (b"", "zürich 日本 \U0001f600".encode(), b"\xff\xfe\x00 {json?}", b"x" * 4096):
            key, heard = lab.key("leader"), Heard()
            lab.at_end(lab.store.election(key).watch_leader(heard).close)
            leader = Contender(lab, key, value, store=store, session=session)
            assert leader.leads(), f"it does not lead with the value {value[:20]!r}"
            found = lab.store.leader(key)
            assert found is not None, f"no leader with the value {value[:20]!r}"
            is_equal(found.value.encode("utf-8", "surrogateescape"), value, "the leader's value")
            assert heard.last(_is_led_by(leader)), f"the watch: {heard}"
            leader.withdraw()

    def test_a_closed_watch_of_the_leader_is_silent(self, lab: Lab) -> None:
        """Closing it twice is harmless, and another one goes on."""
        key, closed, goes_on = lab.key("leader"), Heard(), Heard()
        watch = lab.store.election(key).watch_leader(closed)
        lab.at_end(lab.store.election(key).watch_leader(goes_on).close)
        assert closed.last_is(None), f"no leader yet: {closed}"
        watch.close()
        watch.close()
        leader = Contender(lab, key, b"leader")
        assert leader.leads(), "the only contender leads"
        assert goes_on.last(_is_led_by(leader)), f"the watch that goes on: {goes_on}"
        is_equal(closed.states, [None], "what the closed one was told")


def _is_led_by(contender: Contender) -> Any:
    return lambda last: last is not None and last.token == contender.token
