"""Faults of servers that stand as one: they die, they stop, they are cut off from each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from tests.faults.catalogue import SERVERS, scenario
from tests.faults.outages import await_serving, believed_for
from tests.faults.stand import Cluster, Stand
from tests.scenarios.diary import now
from tests.scenarios.fleet import Reign, await_true
from tests.scenarios.test_followers import Watching, watching
from tests.servers.process import ServerError
from tests.servers.wanted import found
from tests.servers.zookeeper_cluster import ZooKeeperCluster

_MARGIN = 0.5  # seconds, the least that is in force by default
_LATE = 0.1  # seconds that the looks of a process may be apart on a busy machine


class Divisible(Cluster, Protocol):
    """Servers that can be cut off from each other."""

    def cut_off(self, node: Any) -> None: ...
    def heal(self) -> None: ...


def _url(*nodes: Any) -> str:
    """The URL that names them in this order; a client begins with the first."""
    return str(nodes[0].url_at(*(node.port for node in nodes)))


def _one_on_each(stand: Stand, first: Any, *others: Any) -> Reign:
    """Let one lead that talks to the first node, and one wait that talks to the next."""
    stand.candidate("first", url=_url(first, *others))
    reign = stand.leader(15)
    stand.candidate("second", url=_url(*others, first))
    stand.candidate("third", url=_url(*reversed(others), first))
    return reign


# -- 17 -----------------------------------------------------------------------------------------


@scenario(17, on=SERVERS, quick=["etcd"], seconds=180)
def test_17_server_that_leads_killed(stand: Stand) -> None:
    """The others elect another; ours have a leader as soon as they have."""
    cluster = stand.own_cluster()
    chief, followers = cluster.leader(), cluster.followers()
    _one_on_each(stand, chief, *followers)

    with stand.fault("SIGKILL of the server that leads"):
        chief.kill()
        await_serving(followers)
    stand.leader()
    stand.sleep(1)

    with stand.fault("it starts again"):
        chief.start()
    stand.finish()


@scenario(17, on=SERVERS, seconds=180)
def test_17_server_that_leads_stopped(stand: Stand) -> None:
    """It is still there for who is connected to it, and never answers; then it goes on."""
    if stand.kind == "etcd":
        # As it goes on, it may end leases that its successor has renewed: see docs/guarantees.md.
        stand.gap = 0.02
    cluster = stand.own_cluster()
    chief, followers = cluster.leader(), cluster.followers()
    _one_on_each(stand, chief, *followers)

    with _stopped(stand, chief):
        with stand.fault("SIGSTOP of the server that leads"):
            await_true("another one leads", lambda: _leads_another(cluster, chief), 40)
            await_serving(followers)
        stand.leader()
        stand.sleep(2)
        stand.leader()
    stand.sleep(1)
    stand.finish()


@scenario(17, on=SERVERS, seconds=180)
def test_17_server_in_use_killed(stand: Stand) -> None:
    """Who talks to it goes to the next one; with ten seconds of lease, within the term."""
    cluster = stand.own_cluster()
    stand.ttl = 10.0
    used, *others = [*cluster.followers(), cluster.leader()]
    before = _one_on_each(stand, used, *others)

    with stand.fault("SIGKILL of the server that who leads talks to"):
        used.kill()
        stand.sleep(0.8)
        used.start()

    assert stand.leader(1).token == before.token
    assert before.worker.count("lost") == 0
    stand.finish()


@scenario(17, on=SERVERS, seconds=180)
def test_17_majority_killed(stand: Stand) -> None:
    """Nobody believes for longer than a lease; when there is a majority again, somebody leads."""
    cluster = stand.own_cluster()
    chief, followers = cluster.leader(), cluster.followers()
    before = _one_on_each(stand, followers[0], chief, followers[1])

    with stand.fault("SIGKILL of two servers of three, for three ttl"):
        away = now()
        chief.kill()
        followers[1].kill()
        stand.sleep(3)
        assert believed_for(before, away) < stand.ttl - _MARGIN + _LATE
        assert stand.fleet.reign() is None
        chief.start(wait=False)
        followers[1].start(wait=False)
        await_serving(cluster.nodes)

    assert stand.leader().token > before.token
    stand.finish()


@scenario(17, on=SERVERS, seconds=240)
def test_17_rolling_restart(stand: Stand) -> None:
    """One server after the other, the one that leads last; each time somebody leads afterwards."""
    cluster = stand.own_cluster()
    nodes = [*cluster.followers(), cluster.leader()]
    _one_on_each(stand, *nodes)

    for number, node in enumerate(nodes, 1):
        with stand.fault(f"restart of server {number} of 3"):
            node.stop()
            node.start(wait=False)
            await_serving(nodes)
        stand.leader()
    stand.finish()


def _leads_another(cluster: Cluster, than: Any) -> bool:
    try:
        return cluster.leader() is not than
    except ServerError:
        return False


@contextmanager
def _stopped(stand: Stand, server: Any) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()
        stand.mark("SIGCONT")


# -- 18 -----------------------------------------------------------------------------------------


@scenario(18, on=SERVERS, seconds=180)
def test_18_server_of_the_leader_cut_off(stand: Stand) -> None:
    """Who can only reach a follower that is cut off stops in time, and who watches there waits."""
    cluster = _divisible(stand)
    cut, near = cluster.followers()
    _cut_off(stand, cluster, cut, (near, cluster.leader()))


@scenario(18, on=SERVERS, seconds=180)
def test_18_server_that_leads_cut_off(stand: Stand) -> None:
    """It thinks for a while that it leads the others, and must renew nothing that they end."""
    cluster = _divisible(stand)
    cut = cluster.leader()
    near, other = cluster.followers()
    # Until it notices, it renews. That is sound: the others notice as late, elect a new leader
    # only then, and that one gives every session its whole time again.
    unnoticed = {"consul": 1.0, "etcd": 1.0, "zookeeper": 3.0}[stand.kind]
    _cut_off(stand, cluster, cut, (near, other), unnoticed=unnoticed)


@scenario(18, on=SERVERS, quick=["consul"], seconds=180)
def test_18_server_of_those_who_wait_cut_off(stand: Stand) -> None:
    """Whoever waits there does not hear that its turn has come, and believes nothing old."""
    cluster = _divisible(stand)
    cut, near = cluster.followers()
    chief = cluster.leader()
    stand.candidate("near", url=_url(near, chief))
    before = stand.leader(15)
    far = stand.candidate("far", url=_url(cut))
    stand.candidate("next", url=_url(chief, near))
    stand.sleep(0.5)  # so that both wait for their turn

    with stand.fault("the server of one who waits is cut off"):
        cluster.cut_off(cut)
        before.worker.stop()
        after = stand.leader(stand.recovery + 5, after=before)
        assert after.worker is not far
        stand.sleep(2)
        assert far.belief() is None
        cluster.heal()
        await_serving(cluster.nodes)

    after.worker.stop()
    assert stand.leader(stand.recovery + 10, after=after).worker is far
    stand.finish()


@scenario(18, on=["zookeeper"], seconds=180)
def test_18_server_that_goes_on_answering_reads(stand: Stand, tmp_path: Path) -> None:
    """A follower that has not noticed that it is cut off: what it says is old, and no proof."""
    patient = ZooKeeperCluster(found("zookeeper"), tmp_path / "patient", settings={"syncLimit": 40})
    stand.undo(patient.remove)
    patient.start()
    cluster = stand.own_cluster(patient)
    cut, near = cluster.followers()
    _cut_off(stand, patient, cut, (near, cluster.leader()))


def _divisible(stand: Stand) -> Divisible:
    cluster = stand.own_cluster()
    stand.ttl = 3.0
    return cast(Divisible, cluster)


def _cut_off(
    stand: Stand, cluster: Divisible, cut: Any, others: tuple[Any, Any], unnoticed: float = 0.0
) -> None:
    far = stand.candidate("far", url=_url(cut))
    before = stand.leader(15)
    stand.candidate("near", url=_url(*others))
    with watching(_url(cut), stand.key) as watcher:
        watcher.await_line(("far", before.token), 5)

        with stand.fault("the server of who leads is cut off"):
            since = now()
            cluster.cut_off(cut)
            # The others may take some time to agree on who leads them, and to end the lease.
            after = stand.leader(stand.recovery + 5, after=before)
            assert believed_for(before, since) < stand.ttl - _MARGIN + _LATE + unnoticed
            assert far.await_event("lost", 1).reason == "expired"
            if cut.serves():
                # Those who ask it nothing hear of nothing, until they confirm what they know.
                assert watcher.leaders()[-1] == ("far", before.token)
            else:
                _assert_stale(watcher, before)
            stand.sleep(1)
            cluster.heal()
            await_serving(cluster.nodes)

        await_true("the follower is up to date", lambda: _is_told(watcher, stand), stand.recovery)
        far.await_event("store_up", stand.recovery)
        after = stand.leader()
        if after.worker is not far:
            after.worker.stop()
            assert stand.leader(stand.recovery + 5, after=after).worker is far
        stand.finish()


def _is_told(watcher: Watching, stand: Stand) -> bool:
    """Whether a follower says who leads; that may be another one since the servers have healed."""
    reign = stand.fleet.reign()
    lines = watcher.leaders()
    return reign is not None and lines[-1] == (reign.worker.who.partition("-")[2], reign.token)


def _assert_stale(watcher: Watching, before: Reign) -> None:
    """A follower there says that it hears nothing, and what it has heard last, with its age."""
    await_true("store_down", lambda: "store_down" in watcher.events, 15)
    assert watcher.leaders()[-1] == ("far", before.token)
    leader = watcher.follower.leader
    assert leader is not None
    assert leader.age > 1.0
