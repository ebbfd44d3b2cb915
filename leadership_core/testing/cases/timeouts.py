"""Cases of the timeouts of calls, and of a closed store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...backend.clock import now
from ...backend.deadline import call_timeout
from ...errors import SessionLost, StoreClosed, StoreUnavailable
from ..manual_candidate import ManualCandidate
from ..recorders import DEFAULT_WAIT, WatchRecorder
from ..sandbox import Sandbox
from .assertions import is_equal, raises
from .calls import SLACK, calls_on

__all__ = ["TimeoutCases"]


class TimeoutCases:
    """Calls end within their timeout, and raise StoreClosed after close."""

    def test_calls_end_within_their_timeout(self, sandbox: Sandbox) -> None:
        """With hardly any time left, each call returns or raises StoreUnavailable in time."""
        manual = ManualCandidate(sandbox, sandbox.key("leader"))
        manual.enter()
        calls = calls_on(sandbox, sandbox.key("a"), manual)
        calls["close of a session"] = manual.session.close
        assert sandbox.ttl, "known before it is measured"
        for seconds in (0.001, 0.1):
            for name, call in calls.items():
                begun = now()
                try:
                    with call_timeout(seconds):
                        call()
                except (StoreUnavailable, SessionLost):
                    pass
                took = now() - begun
                assert took < seconds + SLACK, f"{name} took {took:.2f} s of {seconds} s"

    def test_closed_store_raises_store_closed(self, sandbox: Sandbox) -> None:
        """Every call raises StoreClosed, closing it again has no effect, and its watches are silent."""
        key, recorders, store = sandbox.key("a"), WatchRecorder(), sandbox.open()
        entry = store.put(key, b"1")
        watch = store.watch(key, recorders)
        assert recorders.last_is(entry), f"the watch before it was closed: {recorders}"
        assert store.close(), "a store with nothing to release was not closed in order"
        assert store.close(), "closing it again"
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: store.get(key),
            "put": lambda: store.put(key, b"2"),
            "list": lambda: store.list(key),
            "delete": lambda: store.delete(key),
            "watch": lambda: store.watch(key, recorders),
            "open_session": lambda: store.open_session(sandbox.ttl),
            "leader": lambda: store.leader(key),
        }
        for name, call in calls.items():
            raises(StoreClosed, call, f"{name} of a closed store")
        watch.close()
        reported = len(recorders.states)
        is_equal(sandbox.store.get(key), entry, "the entry, by another connection")
        sandbox.store.put(key, b"3")
        time.sleep(0.1)
        is_equal(len(recorders.states), reported, "reports after the store was closed")

    def test_close_ends_calls_and_threads(self, sandbox: Sandbox) -> None:
        """Closing during calls returns soon; the calls raise, and no thread is left."""
        key, before = sandbox.key("a"), set(threading.enumerate())
        store, surprises = sandbox.open(), list[BaseException]()
        store.put(key, b"1")
        store.watch(key, WatchRecorder())

        def ask() -> None:
            try:
                while True:
                    store.get(key)
            except (StoreClosed, StoreUnavailable):
                return
            except BaseException as error:  # noqa: BLE001 - raised in the thread of the case
                surprises.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        begun = now()
        store.close()
        took = now() - begun
        for thread in threads:
            thread.join(DEFAULT_WAIT)
        assert took < DEFAULT_WAIT, f"close took {took:.1f} s"
        assert not surprises, f"a call during close raised {surprises[0]!r}"

        def left() -> list[str]:
            return [one.name for one in threading.enumerate() if one not in before]

        assert sandbox.eventually(lambda: not left()), f"threads are left running: {left()}"

    def test_leader_of_a_closed_store_is_replaced_within_its_expiry(self, sandbox: Sandbox) -> None:
        """Its claim ends after its ttl at the latest."""
        key, store = sandbox.key("leader"), sandbox.open()
        leader = ManualCandidate(sandbox, key, store=store, session=store.open_session(sandbox.ttl))
        assert leader.leads(), "the only candidate does not lead"
        store.close()
        second = ManualCandidate(sandbox, key)
        assert second.leads(sandbox.expiry), (
            "there is no leader after the session of a closed store expired"
        )
        assert second.token > leader.token, f"tokens {leader.token} and then {second.token}"
