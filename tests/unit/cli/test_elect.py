"""`leadership elect`, in several processes on one embedded store."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.waiting import at_most
from tests.unit.cli.command import Running, Start, first_elected

pytestmark = pytest.mark.slow

TTL = 2.0
KEY = "service/leader"


def three(start: Start, url: str, ttl: float = TTL) -> list[Running]:
    nodes = [start("elect", url, KEY, f"n{i}", "--ttl", str(ttl), "--json") for i in (1, 2, 3)]
    for node in nodes:
        node.wait_event("campaigning")
    return nodes


def test_elect_prints_the_events_of_a_candidate_in_order(start: Start, url: str) -> None:
    """Each has exactly the documented fields; campaigning is first and stopped is last."""
    begun = time.time()
    node = start("elect", url, "/service/leader/", "node-1", "--ttl", "2", "--json")
    node.wait_event("elected")
    done = node.end()
    assert done.code == 0
    assert done.err == ""
    assert node.events == ["campaigning", "elected", "resigned", "stopped"]
    token = node.lines[1].said["token"]
    for line in node.lines:
        assert begun - 1 < line.said["time"] < time.time() + 1
        fields = {"time", "event", "key", "value"}
        fields |= {"token"} if line.event in {"elected", "resigned"} else set()
        assert set(line.said) == fields
        assert line.said["key"] == KEY
        assert line.said["value"] == "node-1"
        assert line.said.get("token", token) == token > 0


def test_elect_replaces_a_killed_leader_within_its_ttl(start: Start, url: str) -> None:
    """The next leader has a larger token, again and again."""
    nodes = three(start, url)
    tokens = []
    while nodes:
        leader = first_elected(nodes)
        nodes.remove(leader)
        tokens.append(leader.wait_event("elected").said["token"])
        time.sleep(0.5)
        assert all("elected" not in node.events for node in nodes)
        killed = leader.send(signal.SIGKILL)
        if nodes:
            took = first_elected(nodes).wait_event("elected").at - killed
            print(f"SIGKILL to elected: {took:.3f} s of a ttl of {TTL} s")
            assert took < TTL + at_most(0.5)
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 3


def test_elect_hands_over_at_once_after_sigterm(start: Start, url: str) -> None:
    """No candidate waits for a ttl; it takes well under 100 ms on an idle machine."""
    nodes = three(start, url, 10.0)
    took = []
    while len(nodes) > 1:
        leader = first_elected(nodes)
        nodes.remove(leader)
        time.sleep(0.3)
        sent = leader.send(signal.SIGTERM)
        took.append(first_elected(nodes).wait_event("elected").at - sent)
        assert leader.process.wait(5) == 0
        leader.wait_event("stopped")
    print(f"SIGTERM to elected: {[f'{one * 1000:.1f} ms' for one in took]}")
    assert min(took) < at_most(0.1)
    assert max(took) < at_most(1.0)


def test_sigusr1_resigns_and_campaigns_again(start: Start, url: str) -> None:
    """Another candidate is elected at once, and after its resignation the first one again."""
    first, second = nodes = [
        start("elect", url, KEY, name, "--ttl", "10", "--json") for name in ("a", "b")
    ]
    for node in nodes:
        node.wait_event("campaigning")
    if first_elected(nodes) is second:
        first, second = second, first
    time.sleep(0.3)
    first.send(signal.SIGUSR1)
    first.wait_event("resigned")
    token = second.wait_event("elected", 2.0).said["token"]
    first.wait(lambda line: line.event == "campaigning", 3.0, since=3)
    time.sleep(0.3)
    second.send(signal.SIGUSR1)
    again = first.wait(lambda line: line.event == "elected", 3.0, since=3)
    assert again.said["token"] > token
    assert first.events == ["campaigning", "elected", "resigned", "campaigning", "elected"]


def test_sigusr1_of_a_waiting_candidate_has_no_effect(start: Start, url: str) -> None:
    """It has no term to resign from."""
    leader = start("elect", url, KEY, "a", "--json")
    leader.wait_event("elected")
    waiting = start("elect", url, KEY, "b", "--json")
    waiting.wait_event("campaigning")
    time.sleep(0.3)
    waiting.send(signal.SIGUSR1)
    time.sleep(0.3)
    assert waiting.end().code == 0
    assert waiting.events == ["campaigning", "stopped"]
    assert leader.events == ["campaigning", "elected"]


def test_candidate_paused_past_its_lease_is_not_leader_again(
    start: Start, url: str, quick_folder: Path
) -> None:
    """Its readings of is_leader never overlap with another's; it reports lost, and campaigns."""
    script = Path(__file__).with_name("leader_recorder.py")
    nodes = [start(url, KEY, f"n{i}", str(TTL), script=script) for i in (1, 2, 3)]
    for node in nodes:
        node.wait_event("campaigning")
    for _ in range(3):
        leader = _next_leader(nodes)
        since = len(leader.lines)
        _pause(leader, quick_folder / "store.db")
        paused = time.monotonic()
        _next_leader([node for node in nodes if node is not leader])
        time.sleep(0.2)
        pause = leader.send(signal.SIGCONT) - paused
        # A busy machine makes short pauses, too, after which it may still lead.
        woke = leader.wait(
            lambda line, pause=pause: line.said.get("seconds", 0.0) >= pause,  # type: ignore[misc]  # mypy infers no lambda with defaults
            since=since,
        )
        assert woke.said["is_leader"] is False
        leader.wait_event("lost", since=since)
        leader.wait_event("campaigning", since=since)
    for node in nodes:
        assert node.end().code == 0
    intervals = sorted(
        (line.said["first"], line.said["last"], line.said["token"], number)
        for number, node in enumerate(nodes)
        for line in node.lines
        if line.event == "led"
    )
    assert len(intervals) >= 4
    for before, after in pairwise(intervals):
        assert before[1] < after[0], intervals
        assert before[2] < after[2], intervals


def _pause(node: Running, file: Path) -> None:
    """Stop the process outside of writes: a stopped write would block all others, as documented."""
    while True:
        node.send(signal.SIGSTOP)
        time.sleep(0.01)
        with contextlib.closing(sqlite3.connect(file, timeout=0.0, isolation_level=None)) as probe:
            try:
                probe.execute("begin immediate")
            except sqlite3.OperationalError:
                node.send(signal.SIGCONT)
                time.sleep(0.05)
            else:
                return


def _leads(node: Running) -> bool:
    return [event for event in node.events if event in {"leading", "led"}][-1:] == ["leading"]


def _next_leader(nodes: list[Running]) -> Running:
    until = time.monotonic() + at_most(2 * TTL + 2.0)
    while time.monotonic() < until:
        for node in nodes:
            if _leads(node):
                return node
        time.sleep(0.005)
    raise AssertionError(f"no node leads: {[node.events for node in nodes]}")


def test_elect_reports_lost_after_a_pause(start: Start, url: str, quick_folder: Path) -> None:
    """After SIGCONT it prints the token and the reason, and campaigns again."""
    first = start("elect", url, KEY, "a", "--ttl", "1", "--json")
    token = first.wait_event("elected").said["token"]
    second = start("elect", url, KEY, "b", "--ttl", "1", "--json")
    second.wait_event("campaigning")
    time.sleep(0.3)
    _pause(first, quick_folder / "store.db")
    second.wait_event("elected", 3.0)
    first.send(signal.SIGCONT)
    lost = first.wait_event("lost")
    assert lost.said["token"] == token
    assert lost.said["reason"] == "expired"
    first.wait(lambda line: line.event == "campaigning", since=3)
