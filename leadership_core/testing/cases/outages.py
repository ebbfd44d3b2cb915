"""Outages: a server that does not answer, and a network that loses what is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from ...candidate import Candidate
from ...errors import NotDone, SessionLost, StoreRefused, StoreUnavailable
from ...follower import Follower
from ...handle import StoreHandle
from ...store import ABSENT, Capability
from .. import heard
from ..case import needs
from ..contender import Contender
from ..fault_proxy import Outage
from ..heard import Heard
from ..history import History, check_history
from ..lab import Lab
from ..witness import Witness
from .calls import SLACK, Calls, Ended, calls_on, make_at_once
from .candidates import elected
from .expectations import is_equal, is_false, is_true

__all__ = ["OutageCases", "OutageElectionCases"]

_BUDGET = 0.5  # seconds for a call that gets no answer
_NEED_AN_ANSWER = ("get", "list", "put", "delete", "open_session", "renew", "leader", "standing")


class OutageCases:
    """Each call ends in time, says no more than is known, and works again afterwards."""

    @needs(Outage.FREEZE)
    def test_a_frozen_server_holds_up_no_call(self, lab: Lab) -> None:
        """Every call ends within its budget, on open connections and on new ones."""
        contender = _entered(lab)
        calls = calls_on(lab, lab.key("a"), contender)
        fresh = lab.exposed()
        calls["get on a new connection"] = lambda: fresh.get(lab.key("b"))
        lab.begin_outage(Outage.FREEZE)
        ended = make_at_once(calls, _BUDGET)
        close = make_at_once({"close of a session": contender.session.close}, _BUDGET)
        lab.end_outage()
        _is_unknown(ended | close)
        if Outage.REFUSE in lab.outages:  # by its hook, a lab may freeze writes only
            _is_without_answer(ended)
        _works_again(lab, "get", lambda: contender.store.get(lab.key("a")))

    @needs(Outage.REFUSE, Capability.SESSIONS)
    def test_a_server_that_is_away_ends_no_session(self, lab: Lab) -> None:
        """Refused connections and resets are no word of the server about sessions or permissions."""
        for outage in (Outage.REFUSE, Outage.REQUESTS_LOST, Outage.RESET):
            contender, key = _entered(lab), lab.key("a")
            bound = contender.store.put(key, b"", session=contender.session)
            calls = calls_on(lab, lab.key("b"), contender)
            calls.pop("withdraw")
            lab.begin_outage(outage)
            ended = make_at_once(calls, _BUDGET)
            lab.end_outage()
            _is_unknown(ended)
            if outage is not Outage.RESET:
                _is_without_answer(ended)
            _works_again(lab, f"renew after {outage!r}", contender.session.renew)
            is_true(lab.store.exists(bound.key), f"the session's entry after {outage!r}")

    @needs(Outage.ANSWERS_LOST, Capability.SESSIONS)
    def test_a_write_whose_answer_is_lost_may_have_been_made(self, lab: Lab) -> None:
        """`StoreUnavailable`; `NotDone` only if it has surely taken no effect."""
        store, key = lab.exposed(), lab.key()
        session = lab.session(store)
        store.put(f"{key}/put", b"old")
        writes: dict[str, Callable[[], object]] = {
            "put": lambda: store.put(f"{key}/put", b"new"),
            "put if absent": lambda: store.put(f"{key}/absent", b"new", expect=ABSENT),
            "put with a session": lambda: store.put(f"{key}/bound", b"new", session=session),
        }
        for (name, write), last in zip(writes.items(), ("put", "absent", "bound"), strict=True):
            _works_again(lab, "renew", session.renew)
            ended = _without_answer(lab, {name: write, "renew": session.renew})
            _is_unknown(ended)
            is_made = partial(_has_value, lab, f"{key}/{last}", b"new")
            _was_not_made(lab, ended[name], is_made, name)
        _works_again(lab, "renew", session.renew)

    @needs(Outage.ANSWERS_LOST, Outage.RESET)
    def test_a_write_is_sent_once(self, lab: Lab) -> None:
        """When its connection breaks before the answer: a second copy would meet what it has written."""
        store, key = lab.exposed(), lab.key("a")
        store.get(key)
        reset = threading.Timer(_BUDGET / 2, lab.begin_outage, [Outage.RESET])
        lab.begin_outage(Outage.ANSWERS_LOST)
        reset.start()
        ended = make_at_once({"put": lambda: store.put(key, b"1", expect=ABSENT)}, 4 * _BUDGET)
        reset.join()
        lab.end_outage()
        _is_unknown(ended)
        _was_not_made(lab, ended["put"], lambda: lab.store.exists(key), "put")
        _works_again(lab, "get", lambda: store.get(key))

    @needs(Outage.ANSWERS_LOST)
    def test_a_deletion_whose_answer_is_lost_may_have_been_made(self, lab: Lab) -> None:
        """The same for what takes away."""
        store, key = lab.exposed(), lab.key("a")
        store.put(key, b"")
        ended = _without_answer(lab, {"delete": lambda: store.delete(key)})
        _is_unknown(ended)
        _was_not_made(lab, ended["delete"], lambda: not lab.store.exists(key), "delete")
        _works_again(lab, "get", lambda: store.get(key))

    @needs(Outage.FREEZE, Outage.ANSWERS_LOST, Outage.RESET, Outage.REFUSE)
    def test_a_watch_outlives_every_outage(self, lab: Lab) -> None:
        """Afterwards it reports the last state, one that was written meanwhile included."""
        key, one, tree = lab.key(), Heard(), Heard()
        store = lab.exposed()
        lab.at_end(store.watch(f"{key}/a", one).close)
        lab.at_end(store.watch(key, tree, tree=True).close)
        for outage in (Outage.FREEZE, Outage.ANSWERS_LOST, Outage.RESET, Outage.REFUSE):
            lab.begin_outage(outage)
            entry = lab.store.put(f"{key}/a", outage.encode())
            time.sleep(_BUDGET)  # long enough for the watch to notice
            lab.end_outage()
            assert one.last_is(entry, 2 * heard.PATIENCE), f"after {outage!r}, the key: {one}"
            assert tree.last_is([entry], 2 * heard.PATIENCE), f"after {outage!r}, the tree: {tree}"

    @needs(Outage.REFUSE)
    def test_a_watch_reports_that_the_server_is_away(self, lab: Lab) -> None:
        """`StoreUnavailable` while it is, and the state when it is back."""
        key, away, back = lab.key("a"), threading.Event(), threading.Event()
        store = lab.exposed()

        def hear(change: object) -> None:
            (away if isinstance(change, StoreUnavailable) else back).set()

        lab.at_end(store.watch(key, hear).close)
        assert back.wait(heard.PATIENCE), "the watch has not reported the present state"
        lab.begin_outage(Outage.REFUSE)
        assert away.wait(2 * heard.PATIENCE), "the watch does not report that the server is away"
        back.clear()
        lab.end_outage()
        assert back.wait(2 * heard.PATIENCE), "the watch reports no state after the outage"

    @needs(Outage.FREEZE)
    def test_close_does_not_wait_for_a_frozen_server(self, lab: Lab) -> None:
        """With a leader, a follower and a watch: it ends within its timeout, and so do its threads."""
        assert lab.outages, "the proxy before the server, which has a thread of its own, is there"
        before, store, key = set(threading.enumerate()), lab.exposed(), lab.key("leader")
        store.watch(key, Heard())
        Follower(store, key).follow_election()
        elected(Candidate(store, key, "a", ttl=lab.ttl))
        lab.begin_outage(Outage.FREEZE)
        make_at_once({"close": lambda: store.close(_BUDGET)}, _BUDGET)

        def left() -> list[str]:
            return [one.name for one in threading.enumerate() if one not in before]

        assert lab.eventually(lambda: not left()), f"threads are left running: {left()}"
        lab.end_outage()

    @needs(Outage.LATE)
    def test_a_slow_network_costs_no_session(self, lab: Lab) -> None:
        """Answers that are late and in time are answers."""
        store, key = lab.exposed(), lab.key("a")
        session = lab.session(store)
        lab.begin_outage(Outage.LATE)
        entry = store.put(key, b"1")
        is_equal(store.get(key), entry, "what was written")
        assert session.renew() > 0, "a renewal"
        lab.end_outage()


class OutageElectionCases:
    """Elections while the leader's connection, or all of the store, is not usable."""

    @needs(Outage.FREEZE, Outage.REFUSE)
    def test_a_leader_behind_a_frozen_connection_stops_in_time(self, lab: Lab) -> None:
        """Before the next one is elected; afterwards it is elected again without a restart."""
        _replaced(lab, Outage.FREEZE)

    @needs(Outage.ANSWERS_LOST)
    def test_a_leader_that_gets_no_answers_stops_in_time(self, lab: Lab) -> None:
        """Its renewals arrive for ever, and count for it no longer."""
        _replaced(lab, Outage.ANSWERS_LOST)

    @needs(Outage.FREEZE)
    def test_a_leader_of_a_frozen_store_is_elected_again(self, lab: Lab) -> None:
        """Its term ends with its lease, and the next one begins once the store answers."""
        candidate = Candidate(lab.exposed(), lab.key("leader"), "a", ttl=lab.ttl)
        term = elected(candidate)
        lab.begin_outage(Outage.FREEZE)
        assert term.wait_lost(lab.ttl + SLACK), "the term outlives its lease"
        is_false(candidate.is_leader, "is_leader after the lease")
        lab.end_outage()
        later = elected(candidate, lab.expiry + 2 * heard.PATIENCE)
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        is_true(candidate.stop(), "stop")

    @needs(Outage.ANSWERS_LOST)
    def test_an_election_entered_without_an_answer_has_no_unknown_leader(self, lab: Lab) -> None:
        """Whatever the call raises, the claim is gone or is known when the outage is over."""
        key = lab.key("leader")
        contender = Contender(lab, key, b"entered", store=lab.exposed())
        contender.session.renew()
        ended = _without_answer(lab, {"enter": contender.enter})
        _is_unknown(ended)
        _was_not_made(lab, ended["enter"], lambda: lab.store.leader(key) is not None, "enter")


def _entered(lab: Lab) -> Contender:
    """A contender whose connection is hit by outages and has been used."""
    store = lab.exposed()
    contender = Contender(lab, lab.key("leader"), store=store)
    contender.enter()
    contender.session.renew()
    store.get(lab.key("warm"))
    return contender


def _is_unknown(ended: Mapping[str, Ended]) -> None:
    """Fail if a call claims to know what it cannot know without an answer."""
    for name, one in ended.items():
        error = one.error
        if error is None:
            continue
        assert not isinstance(error, SessionLost), (
            f"{name} raised SessionLost, and the server has said nothing of the kind: {error}"
        )
        assert not isinstance(error, StoreRefused), (
            f"{name} raised StoreRefused for a server that is away for a moment: {error}"
        )
        assert isinstance(error, StoreUnavailable), (
            f"{name} raised {type(error).__name__} in an outage, and not StoreUnavailable: {error}"
        )


def _is_without_answer(ended: Mapping[str, Ended]) -> None:
    for name in _NEED_AN_ANSWER:
        assert ended[name].error is not None, (
            f"{name} returned during the outage: its answer did not come from the server"
        )


def _without_answer(lab: Lab, calls: Calls) -> Mapping[str, Ended]:
    """Make calls whose requests arrive and whose answers do not."""
    lab.begin_outage(Outage.ANSWERS_LOST)
    ended = make_at_once(calls, _BUDGET)
    lab.end_outage()
    return ended


def _was_not_made(lab: Lab, one: Ended, is_made: Callable[[], object], name: str) -> None:
    """Fail if a call said that it surely had no effect, and had one."""
    if isinstance(one.error, NotDone):
        assert not lab.eventually(is_made, SLACK), (
            f"{name} raised NotDone, and it was done: the request had been sent, and only its answer "
            f"was lost: {one.error}"
        )


def _works_again(lab: Lab, name: str, call: Callable[[], object]) -> None:
    problems: list[BaseException] = []

    def works() -> bool:
        try:
            call()
        except StoreUnavailable as error:
            problems.append(error)
            return False
        except SessionLost as error:
            raise AssertionError(f"{name}: the session ended in an outage of a moment") from error
        return True

    assert lab.eventually(works, 2 * heard.PATIENCE), (
        f"{name} does not work {2 * heard.PATIENCE:g} s after the outage: {problems[-1]}"
    )


def _has_value(lab: Lab, key: str, value: bytes) -> bool:
    entry = lab.store.get(key)
    return entry is not None and entry.value == value


def _replaced(lab: Lab, outage: Outage) -> None:
    key, history = lab.key("leader"), History()
    store: StoreHandle = lab.exposed()
    first = Candidate(store, key, "cut off", ttl=lab.ttl)
    second = Candidate(lab.open(), key, "fine", ttl=lab.ttl)
    witnesses = [Witness(history, first, "first")]
    term = elected(first)
    witnesses.append(Witness(history, second, "second"))
    lab.begin_outage(outage)
    later = elected(second, lab.expiry)
    is_false(first.is_leader, "is_leader of the one that is cut off, once the other one leads")
    assert later.token > term.token, f"tokens {term.token} and {later.token}"
    lab.end_outage()
    is_true(second.resign(4 * heard.PATIENCE), "resign")
    elected(first, lab.expiry + 2 * heard.PATIENCE)
    for candidate in (first, second):
        candidate.stop()
    for witness in witnesses:
        assert witness.join(heard.PATIENCE), "events go on after stop"
    faults = check_history(history)
    assert not faults, "\n".join(faults)
