"""The shared long polls: what they tell, how many they are, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from leadership_consul.session import ConsulSession
from leadership_consul.store import ConsulStore
from leadership_core.errors import StoreUnavailable
from leadership_core.store import Closable, Entry
from tests.conftest import ConsulFactory, ProxyFactory
from tests.consul.conftest import Opener
from tests.consul.tools import Seen, has_value, wait_until, watch_threads
from tests.servers.consul import Consul


def test_a_key_from_missing_to_recreated(store: ConsulStore, unique_key: str) -> None:
    """Missing, created, changed, deleted, recreated: each is told, under the key's own name."""
    seen = Seen()
    with_watch = store.watch(unique_key, seen)
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"1")
    first = seen.wait(has_value(b"1"))
    store.put(unique_key, b"2")
    seen.wait(has_value(b"2"))
    store.delete(unique_key)
    seen.wait(lambda it: it is None)
    store.put(unique_key, b"3")
    again = seen.wait(has_value(b"3"))
    with_watch.close()

    assert first.key == unique_key
    assert again.revision > first.revision


def test_a_tree(store: ConsulStore, unique_key: str) -> None:
    """All that is below the key, and nothing that only begins with the same letters."""
    seen = Seen()
    store.put(f"{unique_key}-other", b"no")
    store.put(unique_key, b"no")
    store.watch(unique_key, seen, tree=True)
    seen.wait(lambda it: it == [])

    store.put(f"{unique_key}/b/c", b"1")
    store.put(f"{unique_key}/a", b"2")

    entries = seen.wait(lambda it: len(it) == 2)
    assert [(entry.key, entry.value) for entry in entries] == [
        (f"{unique_key}/a", b"2"),
        (f"{unique_key}/b/c", b"1"),
    ]


def test_leaders_and_no_leader(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """None, a leader, None after its session is gone although the value is there, the same again."""
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


def test_a_waiting_claim_is_woken_when_its_turn_may_have_come(
    store: ConsulStore, session: ConsulSession, rival: ConsulSession, unique_key: str
) -> None:
    """Not by another term of another candidate, but by the end of one."""
    election = store.election(unique_key)
    first = election.enter(rival, b"rival")
    claim = election.enter(session, b"Frank")
    told, woken = Seen(), Seen()
    store.watch(unique_key, told)
    election.on_turn(claim, woken)
    told.wait(lambda it: it is not None)
    assert woken == []

    election.withdraw(first)

    wait_until(lambda: woken)


@pytest.mark.parametrize("how", ["delete", "overwrite", "destroy", "withdraw"])
def test_a_leading_claim_is_woken_by_its_own_loss(
    consul: Consul, store: ConsulStore, session: ConsulSession, unique_key: str, how: str
) -> None:
    """Within a notification, not with the next renewal."""
    election = store.election(unique_key)
    claim = election.enter(session, b"Frank")
    told, woken = Seen(), Seen()
    store.watch(unique_key, told)
    election.on_turn(claim, woken)
    told.wait(lambda it: it is not None)
    assert woken == []

    ways: dict[str, Callable[[], object]] = {
        "delete": lambda: consul.request("DELETE", f"/v1/kv/{unique_key}"),
        "overwrite": lambda: consul.request("PUT", f"/v1/kv/{unique_key}", "Claire"),
        "destroy": lambda: consul.request("PUT", f"/v1/session/destroy/{session.id}"),
        "withdraw": lambda: election.withdraw(claim),
    }
    ways[how]()

    wait_until(lambda: woken, 1.0)


def test_a_second_watch_gets_the_state_at_once(store: ConsulStore, unique_key: str) -> None:
    """Also when the poll it joins has nothing new to tell for half a minute."""
    store.put(unique_key, b"1")
    first, second, sibling = Seen(), Seen(), Seen()
    store.watch(unique_key, first)
    first.wait(has_value(b"1"))
    store.watch(unique_key, second)
    second.wait(has_value(b"1"), 1)
    store.watch(f"{unique_key}-sibling", sibling)

    sibling.wait(lambda it: it is None, 1)

    assert len(watch_threads()) == 1


def test_what_an_outage_hides_is_told_after_it(
    consul: Consul, proxy: ProxyFactory, opened: Opener, session: ConsulSession, unique_key: str
) -> None:
    """One error, then the state of now, and a wake for every claim, changed or not."""
    link = proxy(consul.port)
    far, near = opened(consul.url_at(link.port)), opened(consul.url)
    election = near.election(unique_key)
    claim = election.enter(session, b"Frank")
    told, woken, leaders = Seen(), Seen(), Seen()
    far.watch(f"{unique_key}-other", told)
    far.election(unique_key).on_turn(claim, woken)
    far.election(unique_key).watch_leader(leaders)
    told.wait(lambda it: it is None)
    leader = leaders.wait(lambda it: it is not None)

    link.refuse()
    told.wait(lambda it: isinstance(it, StoreUnavailable))
    time.sleep(0.5)  # some retries, none of which is told
    near.put(f"{unique_key}-other", b"1")
    link.listen()
    told.wait(has_value(b"1"), 6)

    wait_until(lambda: woken)
    assert leaders.wait(lambda it: not isinstance(it, StoreUnavailable)) == leader
    assert sum(isinstance(it, StoreUnavailable) for it in told) == 1


def test_after_an_outage_in_which_nothing_happened(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """The state is told again, which ends the error; it does not take the next change for that."""
    link = proxy(consul.port)
    store, seen = opened(consul.url_at(link.port)), Seen()
    entry = opened(consul.url).put(unique_key, b"1")
    store.watch(unique_key, seen)
    seen.wait(has_value(b"1"))
    link.reset()

    wait_until(lambda: len(seen) == 3)

    assert [seen[0], seen[2]] == [entry, entry]
    assert isinstance(seen[1], StoreUnavailable)


def test_closing_ends_the_thread_and_the_calls(store: ConsulStore, unique_key: str) -> None:
    """The last one who closes ends the calls; the poll ends with the agent's next answer."""
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


def test_a_callback_that_raises_hurts_nobody(
    store: ConsulStore, unique_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; it is called again, and so are the others."""
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


def test_a_callback_may_close_its_own_watch(store: ConsulStore, unique_key: str) -> None:
    """It is not called again, and nothing waits for itself."""
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


def test_a_restarted_server_is_watched_again(
    consul_server: ConsulFactory, opened: Opener, unique_key: str
) -> None:
    """The watch re-arms itself."""
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
