"""A program that uses every public name, for type checkers; its functions are never called."""
# pyright: strict

from __future__ import annotations

from typing import assert_never, assert_type

import leadership_consul
import leadership_etcd
import leadership_kubernetes
import leadership_opentelemetry
import leadership_postgres
import leadership_prometheus
import leadership_redis
import leadership_zookeeper
from leadership_core import (
    ABSENT,
    ANY,
    Campaigning,
    Candidate,
    CandidateEvent,
    Capability,
    Closable,
    ConfigurationError,
    Conflict,
    Elected,
    Entry,
    Event,
    Fence,
    Fenced,
    Follower,
    FollowerEvent,
    ForkedStore,
    InvalidKey,
    Leader,
    LeaderChanged,
    LeadershipError,
    LeadershipLost,
    Lock,
    Lost,
    LostReason,
    MissingPlugin,
    NotApplied,
    NotElected,
    PluginError,
    Resigned,
    Resumed,
    Session,
    SessionLost,
    Stopped,
    Store,
    StoreClosed,
    StoreDown,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    StoreUp,
    StoreURL,
    Suspended,
    Term,
    URLError,
    aio,
    graceful_exit,
    installed_stores,
    observe,
    observers,
    open_store,
    status,
    testing,
)


def on_event(event: CandidateEvent) -> str:
    match event:
        case Elected(term):
            return str(assert_type(term, Term).token)
        case Lost(reason):
            return assert_type(reason, LostReason)
        case Suspended(remaining):
            return str(assert_type(remaining, float))
        case StoreDown(error):
            return str(assert_type(error, StoreUnavailable))
        case Campaigning() | Resumed() | Resigned() | StoreUp() | Stopped():
            return event.name
        case _:
            assert_never(event)


def on_change(event: FollowerEvent) -> str:
    match event:
        case LeaderChanged(leader):
            return "" if leader is None else assert_type(leader, Leader).value
        case StoreDown() | StoreUp() | Stopped():
            return event.name
        case _:
            assert_never(event)


def campaigns(store: Store) -> None:
    candidate = Candidate(
        store, "key", "value", ttl=15, margin=2,
        on_elected=lambda term: print(term.token), on_lost=lambda event: print(event.name),
        ready=lambda: True, watchdog=60,
    )  # fmt: skip
    assert_type(candidate.key + candidate.value, str)
    assert_type(candidate.ttl, float)
    candidate.start()
    assert_type(candidate.add_listener(on_event), Closable).close()
    assert_type(candidate.is_leader, bool)
    assert_type(candidate.term, Term | None)
    assert_type(candidate.wait_elected(timeout=5), Term | None)
    for elected in candidate.run_for_election():
        assert_type(elected, bool)
    for event in candidate.events():
        print(on_event(event))
    with candidate.leading(timeout=5) as term, candidate.working() as same:
        assert_type((term, same), tuple[Term, Term])

    @candidate.only_leader
    def clean_up(folder: str) -> int:
        return len(folder)

    @candidate.only_leader(otherwise="standby")
    def report(number: int) -> str:
        return str(number)

    print(clean_up("folder"), assert_type(report(1), str))

    def work(term: Term) -> None:
        term.check()
        term.heartbeat()
        assert_type(term.fence, Fence)
        assert_type(term.key, str)
        assert_type(term.lost, bool)
        assert_type(term.remaining(), float)
        term.ensure(3)
        assert_type(term.wait_lost(1.0), bool)

    candidate.lead(work, cooldown=1)
    assert_type(candidate.resign(cooldown=1), bool)
    assert_type(candidate.stop(timeout=1), bool)


def follows(store: Store) -> None:
    follower = Follower(store, "key", on_leader=lambda leader: print(leader and leader.token))
    follower.start()
    assert_type(follower.add_listener(on_change), Closable).close()
    for leader in follower.follow_election():
        assert_type(leader, Leader | None)
    for event in follower.events():
        print(on_change(event))
    seen = assert_type(follower.wait_leader(timeout=5), Leader | None) or follower.leader
    if seen is not None:
        assert_type(seen.age, float)
        assert_type(seen.raw, bytes)
        assert_type(seen.confirmed_at, float)
    print(follower.key, Leader.of(b"value", 1))
    follower.stop()


def stores(store: Store) -> None:
    entry = assert_type(store.put("key", b"1", expect=ABSENT), Entry)
    assert_type(store.put("key", b"2", expect=entry), Entry)
    assert_type(store.get("key"), Entry | None)
    assert_type(store.list("folder"), list[Entry])
    assert_type(store.delete("key", expect=ANY), bool)
    assert_type(store.exists("key"), bool)
    assert_type(store.delete_tree("folder"), int)
    assert_type(store.leader("key"), Leader | None)
    assert_type(store.url, str)
    assert_type(store.expires_within(15), float)
    print(Capability.FENCED_WRITES in store.capabilities, store.election("key"))
    session = assert_type(store.open_session(15), Session)
    session.renew()
    print(session.id, session.ttl)
    session.close()
    assert_type(store.watch("key", print), Closable).close()
    assert_type(store.watch_tree("folder", print), Closable).close()
    lock = assert_type(store.lock("lock", "value", ttl=15), Lock)
    if (term := lock.acquire(timeout=1)) is not None:
        store.put("key", b"3", fence=term)
        assert_type(lock.term, Term | None)
        assert_type(lock.release(term), bool)
    with lock as term:
        store.put("key", b"4", fence=Fence(term.key, term.token))
    assert_type(store.close(), bool)


async def asynchronous() -> None:
    async with aio.open_store("memory://x") as store, aio.Candidate(store, "key", "a") as candidate:
        assert_type(store, aio.Store)
        async for elected in candidate.run_for_election():
            assert_type(elected, bool)
        async for event in candidate.events():
            on_event_of_aio(event)
        async with candidate.leading(timeout=5) as term:
            assert_type(term, aio.Term).check()
            await term.ensure(3)
        assert_type(await candidate.wait_elected(timeout=5), aio.Term | None)

        @candidate.only_leader
        async def clean_up(folder: str) -> int:
            return len(folder)

        print(await clean_up("folder"))
        async for leader in aio.Follower(store, "key").follow_election():
            assert_type(leader, Leader | None)
        assert_type(await store.put("key", b"1"), Entry)
        assert_type(await store.get("key"), Entry | None)
        assert_type(await store.open_session(15), aio.Session)
        assert_type(store.watch("key"), aio.Watch)
        lock = assert_type(store.lock("lock"), aio.Lock)
        async with lock as term:
            await store.put("key", b"2", fence=term)
        assert_type(await candidate.stop(), bool)


def on_event_of_aio(event: aio.CandidateEvent) -> None:
    match event:
        case aio.Elected(term):
            assert_type(term, aio.Term)
        case Lost() | Resigned() | Suspended() | StoreDown() | Campaigning() | Resumed():
            print(event.name)
        case StoreUp() | Stopped():
            print(event.name)
        case _:
            assert_never(event)


class Observer:
    """An observer of every kind of record."""

    def __init__(self) -> None:
        self.elections = observers.LiveElections()

    @observers.hookimpl
    def leadership_observe(self, record: observers.Record) -> None:
        match record:
            case observers.CandidateTransition() | observers.FollowerTransition():
                print(record)
            case observers.Renewal() | observers.Request():
                assert_type(record.outcome, observers.Outcome)
            case observers.RecordsDropped() | observers.WatchRestarted():
                print(record)
            case _:
                assert_never(record)


def observed(state: observers.ElectionState, term: observers.ObservedTerm) -> None:
    print(state, term)
    assert_type(observe(Observer()), Closable).close()
    observers.observe(Observer()).close()
    leadership_prometheus.install().close()
    leadership_opentelemetry.install().close()
    print(leadership_prometheus.Observer, leadership_opentelemetry.Observer)


def served(store: Store) -> None:
    with status.serve([Candidate(store, "key", "a")], host="127.0.0.1", port=0) as server:
        assert_type(server, status.StatusServer)
        print(assert_type(server.url, str), assert_type(server.port, int))


def tested() -> None:
    clock = testing.VirtualClock()
    assert_type(clock.advance(20), float)
    with testing.StoreFaults(clock) as faults:
        store = assert_type(faults.open(), Store)
        assert_type(faults.store_down(), testing.OngoingFault).end()
        assert_type(faults.elect_other("key"), testing.OtherLeader).resign()
        store.close()
    with testing.Sandbox("memory://x") as sandbox:
        print(testing.ManualCandidate, testing.FaultyStore, testing.FaultProxy, testing.Outage)
        print(testing.CandidateRecorder, testing.WatchRecorder, sandbox.store.url)
    for case in testing.contract_cases(frozenset(Capability)):
        assert_type(case, testing.Case)
    print(testing.CALLS, testing.Fault, testing.needs)
    print(testing.History, testing.LeadershipInterval, testing.Observation, testing.check_history)


class MyStore(testing.StoreContract, testing.ElectionContract):
    """The contract, for a store of the user's."""


def fails(url: str) -> str:
    graceful_exit()
    assert_type(installed_stores(), dict[str, str])
    print(leadership_consul.leadership_open_store(StoreURL.parse(url)))
    print(leadership_etcd.leadership_open_store(StoreURL.parse(url)))
    print(leadership_kubernetes.leadership_open_store(StoreURL.parse(url)))
    print(leadership_postgres.leadership_open_store(StoreURL.parse(url)))
    print(leadership_redis.leadership_open_store(StoreURL.parse(url)))
    print(leadership_zookeeper.leadership_open_store(StoreURL.parse(url)))
    assert_type(leadership_postgres.schema_sql(), str)
    print(leadership_postgres.fence_sql(Fence("key", 1)))
    try:
        with open_store(url, require=[Capability.FENCED_WRITES]) as store:
            return store.url
    except (URLError, InvalidKey, MissingPlugin, PluginError, ConfigurationError):
        return "configuration"
    except (NotApplied, StoreRefused, StoreUnavailable):
        return "no answer"
    except (Fenced, Conflict, SessionLost, StoreClosed, ForkedStore, StoreError):
        return "store"
    except (NotElected, LeadershipLost):
        return "leadership"
    except LeadershipError:
        return Event.__name__
