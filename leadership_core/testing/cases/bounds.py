"""How long calls take, and what happens after close."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...budget import budget
from ...clock import now
from ...errors import SessionLost, StoreClosed, StoreUnavailable
from ..contender import Contender
from ..heard import PATIENCE, Heard
from ..lab import Lab
from .calls import SLACK, calls_on
from .expectations import is_equal, raises

__all__ = ["BoundCases"]


class BoundCases:
    """Every call ends, and a closed store is closed."""

    def test_every_call_keeps_to_its_budget(self, lab: Lab) -> None:
        """With hardly any time, each call returns or says that there was no answer, in time."""
        contender = Contender(lab, lab.key("leader"))
        contender.enter()
        calls = calls_on(lab, lab.key("a"), contender)
        calls["close of a session"] = contender.session.close
        assert lab.ttl, "known before it is measured"
        for seconds in (0.001, 0.1):
            for name, call in calls.items():
                begun = now()
                try:
                    with budget(seconds):
                        call()
                except (StoreUnavailable, SessionLost):
                    pass
                took = now() - begun
                assert took < seconds + SLACK, f"{name} took {took:.2f} s of {seconds} s"

    def test_a_closed_store_says_so(self, lab: Lab) -> None:
        """Every call raises StoreClosed, closing it again does nothing, its watches are silent."""
        key, heard, store = lab.key("a"), Heard(), lab.open()
        entry = store.put(key, b"1")
        watch = store.watch(key, heard)
        assert heard.last_is(entry), f"the watch before it was closed: {heard}"
        assert store.close(), "a store with nothing to release was not closed in order"
        assert store.close(), "closing it again"
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: store.get(key),
            "put": lambda: store.put(key, b"2"),
            "list": lambda: store.list(key),
            "delete": lambda: store.delete(key),
            "watch": lambda: store.watch(key, heard),
            "open_session": lambda: store.open_session(lab.ttl),
            "leader": lambda: store.leader(key),
        }
        for name, call in calls.items():
            raises(StoreClosed, call, f"{name} of a closed store")
        watch.close()
        told = len(heard.states)
        is_equal(lab.store.get(key), entry, "the entry, by another connection")
        lab.store.put(key, b"3")
        time.sleep(0.1)
        is_equal(len(heard.states), told, "states told after the store was closed")

    def test_close_ends_calls_and_threads(self, lab: Lab) -> None:
        """Closing while others are calling returns soon; they are told, and no thread is left."""
        key, before = lab.key("a"), set(threading.enumerate())
        store, surprises = lab.open(), list[BaseException]()
        store.put(key, b"1")
        store.watch(key, Heard())

        def ask() -> None:
            try:
                while True:
                    store.get(key)
            except (StoreClosed, StoreUnavailable):
                return
            except BaseException as error:  # noqa: BLE001 - told in the thread of the case
                surprises.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        begun = now()
        store.close()
        took = now() - begun
        for thread in threads:
            thread.join(PATIENCE)
        assert took < PATIENCE, f"close took {took:.1f} s"
        assert not surprises, f"a call during close raised {surprises[0]!r}"

        def left() -> list[str]:
            return [one.name for one in threading.enumerate() if one not in before]

        assert lab.eventually(lambda: not left()), f"threads are left running: {left()}"

    def test_a_closed_store_holds_nothing_for_long(self, lab: Lab) -> None:
        """A leader whose store is closed under it is replaced once its ttl is over, at the latest."""
        key, store = lab.key("leader"), lab.open()
        leader = Contender(lab, key, store=store, session=store.open_session(lab.ttl))
        assert leader.leads(), "the only contender leads"
        store.close()
        second = Contender(lab, key)
        assert second.leads(lab.expiry), "nobody leads after the session of a closed store expired"
        assert second.token > leader.token, f"tokens {leader.token} and then {second.token}"
