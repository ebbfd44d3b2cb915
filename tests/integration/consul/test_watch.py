"""Watches of entries, leaders and claims."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.backend.entries import Entry
from leadership_core.backend.protocols import Closable
from leadership_core.errors import StoreUnavailable
from tests.conftest import ConsulFactory, ProxyFactory
from tests.integration.consul.conftest import Opener
from tests.integration.consul.tools import watch_threads
from tests.support.servers.consul import Consul
from tests.support.waiting import Seen, has_value, wait_until


def test_watch_leader_reports_terms_and_their_ends(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """The value of an ended session is no leader; a next term with the same value is reported."""
    election = store.election(unique_key)
    seen = Seen()
    election.watch_leader(seen)
    seen.wait(lambda it: it is None)
    election.enter(session, b"Frank")
    first = seen.wait(lambda it: it is not None)
    session.close()
    seen.wait(lambda it: it is None)
    claim = election.enter(rival, b"Frank")
    second = seen.wait(lambda it: it is not None)

    assert (str(first), str(second)) == ("Frank", "Frank")
    assert second != first
    assert second.token == claim.token
    assert second.age < 2


def test_waiting_claim_is_woken_by_the_end_of_a_term(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """It is not woken by changes of another candidate's term."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    seen, woken = Seen(), Seen()
    store.watch(unique_key, seen)
    election.watch_claim(claim, woken)
    seen.wait(lambda it: it is not None)
    assert woken == []

    election.withdraw(first)

    wait_until(lambda: woken)


@pytest.mark.parametrize("how", ["delete", "overwrite", "destroy", "withdraw"])
def test_leading_claim_is_woken_by_its_loss(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str, how: str
) -> None:
    """It is woken within a notification, before the next renewal."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    seen, woken = Seen(), Seen()
    store.watch(unique_key, seen)
    election.watch_claim(claim, woken)
    seen.wait(lambda it: it is not None)
    assert woken == []

    ways: dict[str, Callable[[], object]] = {
        "delete": lambda: consul.request("DELETE", f"/v1/kv/{unique_key}"),
        "overwrite": lambda: consul.request("PUT", f"/v1/kv/{unique_key}", "Claire"),
        "destroy": lambda: consul.request("PUT", f"/v1/session/destroy/{session.id}"),
        "withdraw": lambda: election.withdraw(claim),
    }
    ways[how]()

    wait_until(lambda: woken, 1.0)


def test_second_watch_reports_the_state_at_once(store: ConsulStore, unique_key: str) -> None:
    """The poll that it joins may be waiting for a change."""
    store.put(unique_key, b"1")
    first, second, sibling = Seen(), Seen(), Seen()
    store.watch(unique_key, first)
    first.wait(has_value(b"1"))
    store.watch(unique_key, second)
    second.wait(has_value(b"1"), 1)
    store.watch(f"{unique_key}-sibling", sibling)

    sibling.wait(lambda it: it is None, 1)

    assert len(watch_threads()) == 1


def test_watch_reports_changes_during_an_outage_after_it(
    consul: Consul, proxy: ProxyFactory, opened: Opener, session: ConsulSession, unique_key: str
) -> None:
    """One error, then the current state, and a wake for every claim, changed or not."""
    link = proxy(consul.port)
    far, near = opened(consul.url_at(link.port)), opened(consul.url)
    election = near.election(unique_key)
    claim = election.enter(session, b"Frank")
    seen, woken, leaders = Seen(), Seen(), Seen()
    far.watch(f"{unique_key}-other", seen)
    far.election(unique_key).watch_claim(claim, woken)
    far.election(unique_key).watch_leader(leaders)
    seen.wait(lambda it: it is None)
    leader = leaders.wait(lambda it: it is not None)

    link.refuse()
    seen.wait(lambda it: isinstance(it, StoreUnavailable))
    time.sleep(0.5)  # some retries, none of which is reported
    near.put(f"{unique_key}-other", b"1")
    link.listen()
    seen.wait(has_value(b"1"), 6)

    wait_until(lambda: woken)
    assert leaders.wait(lambda it: not isinstance(it, StoreUnavailable)) == leader
    assert sum(isinstance(it, StoreUnavailable) for it in seen) == 1


def test_watch_reports_the_state_after_an_outage_without_changes(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The same state is reported again, which ends the error."""
    link = proxy(consul.port)
    store, seen = opened(consul.url_at(link.port)), Seen()
    entry = opened(consul.url).put(unique_key, b"1")
    store.watch(unique_key, seen)
    seen.wait(has_value(b"1"))
    wait_until(lambda: link.count("wait=10s"))  # an idle connection would be replaced silently
    link.reset()

    wait_until(lambda: len(seen) == 3)

    assert [seen[0], seen[2]] == [entry, entry]
    assert isinstance(seen[1], StoreUnavailable)


def test_close_of_the_last_watch_ends_calls_and_thread(store: ConsulStore, unique_key: str) -> None:
    """The calls end at once; the poll ends with the agent's next answer."""
    seen = Seen()
    watches = [store.watch(unique_key, seen), store.watch(unique_key, Seen())]
    seen.wait(lambda it: it is None)
    watches[0].close()
    watches[0].close()
    assert len(watch_threads()) == 1
    watches[1].close()

    store.put(unique_key, b"1")
    wait_until(lambda: not watch_threads(), 1)
    assert seen == [None]


def test_error_of_a_callback_is_logged(
    store: ConsulStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is called again, and so are the callbacks of other watches."""
    calls, seen = Seen(), Seen()

    def broken(change: object) -> None:
        calls(change)
        raise RuntimeError("of the user's own making")

    store.watch(unique_key, broken)
    store.watch(unique_key, seen)
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"1")

    seen.wait(has_value(b"1"))
    calls.wait(has_value(b"1"))
    assert "of the user's own making" in caplog.text


def test_callback_may_close_its_own_watch(store: ConsulStore, unique_key: str) -> None:
    """It is not called again, and `close` does not wait for itself."""
    seen = Seen()
    mine: list[Closable] = []

    def close(change: object) -> None:
        seen(change)
        if isinstance(change, Entry):
            mine[0].close()

    mine.append(store.watch(unique_key, close))
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"1")
    seen.wait(has_value(b"1"))

    wait_until(lambda: not watch_threads(), 1)


def test_watch_continues_after_server_restart(
    consul_server: ConsulFactory, opened: Opener, unique_key: str
) -> None:
    """The watch reports the change that follows the restart."""
    server = consul_server()
    store = opened(server.url)
    seen = Seen()
    store.watch(unique_key, seen)
    seen.wait(lambda it: it is None)
    server.kill()
    seen.wait(lambda it: isinstance(it, StoreUnavailable))
    server.start()
    store.put(unique_key, b"1")

    seen.wait(has_value(b"1"), 8)
