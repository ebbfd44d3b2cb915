"""Cases of outages: a server that does not answer, and a network that loses packets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from ...backend.entries import ABSENT
from ...backend.protocols import Capability
from ...candidate import Candidate
from ...errors import NotApplied, SessionLost, StoreRefused, StoreUnavailable
from ...follower import Follower
from ...store import Store
from .. import recorders
from ..case import needs
from ..fault_proxy import Outage
from ..history import History, check_history
from ..manual_candidate import ManualCandidate
from ..recorders import CandidateRecorder, WatchRecorder
from ..sandbox import Sandbox
from .assertions import is_equal, is_false, is_true
from .calls import SLACK, Calls, Ended, calls_on, make_at_once
from .candidates import elected

__all__ = ["OutageCases", "OutageElectionCases"]

_TIMEOUT = 0.5  # seconds for a call that gets no answer
_NEED_AN_ANSWER = ("get", "list", "put", "delete", "open_session", "renew", "leader", "status")


class OutageCases:
    """Calls end in time, report no more than is known, and work again after the outage."""

    @needs(Outage.FREEZE)
    def test_calls_to_a_frozen_server_end_within_their_timeout(self, sandbox: Sandbox) -> None:
        """Every call ends in time, on open connections and on new ones."""
        manual = _entered(sandbox)
        calls = calls_on(sandbox, sandbox.key("a"), manual)
        fresh = sandbox.exposed()
        calls["get on a new connection"] = lambda: fresh.get(sandbox.key("b"))
        sandbox.begin_outage(Outage.FREEZE)
        ended = make_at_once(calls, _TIMEOUT)
        close = make_at_once({"close of a session": manual.session.close}, _TIMEOUT)
        sandbox.end_outage()
        _is_unknown(ended | close)
        if Outage.REFUSE in sandbox.outages:  # by its hook, a lab may freeze writes only
            _is_without_answer(ended)
        _works_again(sandbox, "get", lambda: manual.store.get(sandbox.key("a")))

    @needs(Outage.REFUSE, Capability.SESSIONS)
    def test_connection_errors_end_no_session(self, sandbox: Sandbox) -> None:
        """Refused connections and resets are not taken for an answer about sessions or permissions."""
        for outage in (Outage.REFUSE, Outage.REQUESTS_LOST, Outage.RESET):
            manual, key = _entered(sandbox), sandbox.key("a")
            bound = manual.store.put(key, b"", session=manual.session)
            calls = calls_on(sandbox, sandbox.key("b"), manual)
            calls.pop("withdraw")
            sandbox.begin_outage(outage)
            ended = make_at_once(calls, _TIMEOUT)
            sandbox.end_outage()
            _is_unknown(ended)
            if outage is not Outage.RESET:
                _is_without_answer(ended)
            _works_again(sandbox, f"renew after {outage!r}", manual.session.renew)
            is_true(sandbox.store.exists(bound.key), f"the session's entry after {outage!r}")

    @needs(Outage.ANSWERS_LOST, Capability.SESSIONS)
    def test_put_without_an_answer_raises_store_unavailable(self, sandbox: Sandbox) -> None:
        """It raises `NotApplied` only if it surely has had no effect."""
        store, key = sandbox.exposed(), sandbox.key()
        session = sandbox.session(store)
        store.put(f"{key}/put", b"old")
        writes: dict[str, Callable[[], object]] = {
            "put": lambda: store.put(f"{key}/put", b"new"),
            "put if absent": lambda: store.put(f"{key}/absent", b"new", expect=ABSENT),
            "put with a session": lambda: store.put(f"{key}/bound", b"new", session=session),
        }
        for (name, write), last in zip(writes.items(), ("put", "absent", "bound"), strict=True):
            _works_again(sandbox, "renew", session.renew)
            ended = _without_answer(sandbox, {name: write, "renew": session.renew})
            _is_unknown(ended)
            is_made = partial(_has_value, sandbox, f"{key}/{last}", b"new")
            _was_not_made(sandbox, ended[name], is_made, name)
        _works_again(sandbox, "renew", session.renew)

    @needs(Outage.ANSWERS_LOST, Outage.RESET)
    def test_put_is_sent_once(self, sandbox: Sandbox) -> None:
        """It is not repeated when its connection breaks: a copy would meet the entry that it has written."""
        store, key = sandbox.exposed(), sandbox.key("a")
        store.get(key)
        reset = threading.Timer(_TIMEOUT / 2, sandbox.begin_outage, [Outage.RESET])
        sandbox.begin_outage(Outage.ANSWERS_LOST)
        reset.start()
        ended = make_at_once({"put": lambda: store.put(key, b"1", expect=ABSENT)}, 4 * _TIMEOUT)
        reset.join()
        sandbox.end_outage()
        _is_unknown(ended)
        _was_not_made(sandbox, ended["put"], lambda: sandbox.store.exists(key), "put")
        _works_again(sandbox, "get", lambda: store.get(key))

    @needs(Outage.ANSWERS_LOST)
    def test_delete_without_an_answer_raises_store_unavailable(self, sandbox: Sandbox) -> None:
        """It raises `NotApplied` only if it surely has had no effect."""
        store, key = sandbox.exposed(), sandbox.key("a")
        store.put(key, b"")
        ended = _without_answer(sandbox, {"delete": lambda: store.delete(key)})
        _is_unknown(ended)
        _was_not_made(sandbox, ended["delete"], lambda: not sandbox.store.exists(key), "delete")
        _works_again(sandbox, "get", lambda: store.get(key))

    @needs(Outage.FREEZE, Outage.ANSWERS_LOST, Outage.RESET, Outage.REFUSE)
    def test_watch_continues_after_every_outage(self, sandbox: Sandbox) -> None:
        """After an outage it reports the last state, including one that was written meanwhile."""
        key, one, tree = sandbox.key(), WatchRecorder(), WatchRecorder()
        store = sandbox.exposed()
        sandbox.at_end(store.watch(f"{key}/a", one).close)
        sandbox.at_end(store.watch(key, tree, tree=True).close)
        for outage in (Outage.FREEZE, Outage.ANSWERS_LOST, Outage.RESET, Outage.REFUSE):
            sandbox.begin_outage(outage)
            entry = sandbox.store.put(f"{key}/a", outage.encode())
            time.sleep(_TIMEOUT)  # long enough for the watch to notice
            sandbox.end_outage()
            assert one.last_is(entry, 2 * recorders.DEFAULT_WAIT), (
                f"after {outage!r}, the key: {one}"
            )
            assert tree.last_is([entry], 2 * recorders.DEFAULT_WAIT), (
                f"after {outage!r}, the tree: {tree}"
            )

    @needs(Outage.REFUSE)
    def test_watch_reports_an_unreachable_server(self, sandbox: Sandbox) -> None:
        """It reports `StoreUnavailable` during the outage, and the state after it."""
        key, away, back = sandbox.key("a"), threading.Event(), threading.Event()
        store = sandbox.exposed()

        def hear(change: object) -> None:
            (away if isinstance(change, StoreUnavailable) else back).set()

        sandbox.at_end(store.watch(key, hear).close)
        assert back.wait(recorders.DEFAULT_WAIT), "the watch has not reported the present state"
        sandbox.begin_outage(Outage.REFUSE)
        assert away.wait(2 * recorders.DEFAULT_WAIT), (
            "the watch does not report that the server is away"
        )
        back.clear()
        sandbox.end_outage()
        assert back.wait(2 * recorders.DEFAULT_WAIT), "the watch reports no state after the outage"

    @needs(Outage.FREEZE)
    def test_close_does_not_wait_for_a_frozen_server(self, sandbox: Sandbox) -> None:
        """With a leader, a follower and a watch, close ends within its timeout, and so do its threads."""
        assert sandbox.outages, (
            "the proxy before the server, which has a thread of its own, is there"
        )
        before, store, key = set(threading.enumerate()), sandbox.exposed(), sandbox.key("leader")
        store.watch(key, WatchRecorder())
        Follower(store, key).follow_election()
        elected(Candidate(store, key, "a", ttl=sandbox.ttl))
        sandbox.begin_outage(Outage.FREEZE)
        make_at_once({"close": lambda: store.close(_TIMEOUT)}, _TIMEOUT)

        def left() -> list[str]:
            return [one.name for one in threading.enumerate() if one not in before]

        assert sandbox.eventually(lambda: not left()), f"threads are left running: {left()}"
        sandbox.end_outage()

    @needs(Outage.LATE)
    def test_slow_network_ends_no_session(self, sandbox: Sandbox) -> None:
        """Answers that come late, but before the timeout, count."""
        store, key = sandbox.exposed(), sandbox.key("a")
        session = sandbox.session(store)
        sandbox.begin_outage(Outage.LATE)
        entry = store.put(key, b"1")
        is_equal(store.get(key), entry, "what was written")
        assert session.renew() > 0, "a renewal"
        sandbox.end_outage()


class OutageElectionCases:
    """Elections while the leader's connection, or all of the store, is not usable."""

    @needs(Outage.FREEZE, Outage.REFUSE)
    def test_leader_behind_a_frozen_connection_stops_before_the_next_is_elected(
        self, sandbox: Sandbox
    ) -> None:
        """It is elected again after the outage, without a restart."""
        _replaced(sandbox, Outage.FREEZE)

    @needs(Outage.ANSWERS_LOST)
    def test_leader_without_answers_stops_before_its_lease_ends(self, sandbox: Sandbox) -> None:
        """Its renewals arrive, but without an answer they do not extend its term."""
        _replaced(sandbox, Outage.ANSWERS_LOST)

    @needs(Outage.FREEZE)
    def test_leader_of_a_frozen_store_is_elected_again(self, sandbox: Sandbox) -> None:
        """Its term ends with its lease, and the next term begins once the store answers."""
        candidate = Candidate(sandbox.exposed(), sandbox.key("leader"), "a", ttl=sandbox.ttl)
        term = elected(candidate)
        sandbox.begin_outage(Outage.FREEZE)
        assert term.wait_lost(sandbox.ttl + SLACK), "the term outlives its lease"
        is_false(candidate.is_leader, "is_leader after the lease")
        sandbox.end_outage()
        later = elected(candidate, sandbox.expiry + 2 * recorders.DEFAULT_WAIT)
        assert later.token > term.token, f"tokens {term.token} and {later.token}"
        is_true(candidate.stop(), "stop")

    @needs(Outage.ANSWERS_LOST)
    def test_enter_without_an_answer_leaves_no_unknown_leader(self, sandbox: Sandbox) -> None:
        """Whatever the call raises, the claim is gone or known when the outage is over."""
        key = sandbox.key("leader")
        manual = ManualCandidate(sandbox, key, b"entered", store=sandbox.exposed())
        manual.session.renew()
        ended = _without_answer(sandbox, {"enter": manual.enter})
        _is_unknown(ended)
        _was_not_made(
            sandbox, ended["enter"], lambda: sandbox.store.leader(key) is not None, "enter"
        )


def _entered(sandbox: Sandbox) -> ManualCandidate:
    """Return a candidate whose connection has been used, and is affected by outages."""
    store = sandbox.exposed()
    manual = ManualCandidate(sandbox, sandbox.key("leader"), store=store)
    manual.enter()
    manual.session.renew()
    store.get(sandbox.key("warm"))
    return manual


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


def _without_answer(sandbox: Sandbox, calls: Calls) -> Mapping[str, Ended]:
    """Make calls whose requests arrive and whose answers do not."""
    sandbox.begin_outage(Outage.ANSWERS_LOST)
    ended = make_at_once(calls, _TIMEOUT)
    sandbox.end_outage()
    return ended


def _was_not_made(sandbox: Sandbox, one: Ended, is_made: Callable[[], object], name: str) -> None:
    """Fail if a call said that it surely had no effect, and had one."""
    if isinstance(one.error, NotApplied):
        assert not sandbox.eventually(is_made, SLACK), (
            f"{name} raised NotApplied, and it was done: the request had been sent, and only its answer "
            f"was lost: {one.error}"
        )


def _works_again(sandbox: Sandbox, name: str, call: Callable[[], object]) -> None:
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

    assert sandbox.eventually(works, 2 * recorders.DEFAULT_WAIT), (
        f"{name} does not work {2 * recorders.DEFAULT_WAIT:g} s after the outage: {problems[-1]}"
    )


def _has_value(sandbox: Sandbox, key: str, value: bytes) -> bool:
    entry = sandbox.store.get(key)
    return entry is not None and entry.value == value


def _replaced(sandbox: Sandbox, outage: Outage) -> None:
    key, history = sandbox.key("leader"), History()
    store: Store = sandbox.exposed()
    first = Candidate(store, key, "cut off", ttl=sandbox.ttl)
    second = Candidate(sandbox.open(), key, "fine", ttl=sandbox.ttl)
    witnesses = [CandidateRecorder(history, first, "first")]
    term = elected(first)
    witnesses.append(CandidateRecorder(history, second, "second"))
    sandbox.begin_outage(outage)
    later = elected(second, sandbox.expiry)
    is_false(first.is_leader, "is_leader of the one that is cut off, once the other one leads")
    assert later.token > term.token, f"tokens {term.token} and {later.token}"
    sandbox.end_outage()
    is_true(second.resign(4 * recorders.DEFAULT_WAIT), "resign")
    elected(first, sandbox.expiry + 2 * recorders.DEFAULT_WAIT)
    for candidate in (first, second):
        candidate.stop()
    for recorder in witnesses:
        assert recorder.join(recorders.DEFAULT_WAIT), "events go on after stop"
    faults = check_history(history)
    assert not faults, "\n".join(faults)
