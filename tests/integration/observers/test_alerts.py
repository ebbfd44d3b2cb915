"""The alert rules of `examples/monitoring`, evaluated by Prometheus itself.

Each alert is tried twice: by promtool with its real durations on series that are written down, and by a
server on programs in which the fault is made to happen, with all durations thirty times shorter.
"""

from __future__ import annotations

import json
import re
import signal
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.observers.conftest import RULES, Programs, Prometheus, Promtool
from tests.support.servers.etcd import Etcd
from tests.support.servers.proxy import Proxy
from tests.support.waiting import at_most, eventually, wait_until

ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())

_ELECTION = 'key="service/api", store="etcd", instance="a"'
_OTHER = 'key="service/api", store="etcd", instance="b"'
_LATE = 'store="etcd", instance="a"'

# The series of each alert: those that fire it, and similar ones that do not; a value every 15 s. In the
# notation of promtool, `0x40` is 41 times 0, and `0+1x40` is 0, 1, 2 and so on.
_FIRES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "LeadershipNoLeader": (
        {
            f"leadership_is_leader{{{_ELECTION}}}": "1x4 0x36",
            f"leadership_is_leader{{{_OTHER}}}": "0x40",
        },
        # without a leader for 45 s, and again later
        {
            f"leadership_is_leader{{{_ELECTION}}}": "1x4 0x2 1x4 0x2 1x25",
            f"leadership_is_leader{{{_OTHER}}}": "0x40",
        },
    ),
    "LeadershipTwoLeaders": (
        {
            f"leadership_is_leader{{{_ELECTION}}}": "1x40",
            f"leadership_is_leader{{{_OTHER}}}": "1x40",
        },
        # a handover between two scrapes, and another key
        {
            f"leadership_is_leader{{{_ELECTION}}}": "1x20 0x20",
            f"leadership_is_leader{{{_OTHER}}}": "0x18 1x20",
            'leadership_is_leader{key="other", store="etcd", instance="a"}': "1x40",
        },
    ),
    "LeadershipLost": (
        {f'leadership_transitions_total{{{_ELECTION}, reason="expired"}}': "0x20 1x20"},
        {f'leadership_transitions_total{{{_ELECTION}, reason="resigned"}}': "0x20 1x20"},
    ),
    "LeadershipFlapping": (
        {f"leadership_term_token{{{_ELECTION}}}": "1x4 2x4 3x4 4x4 5x4 6x16"},
        # two handovers, with scrapes in which no one leads
        {
            f"leadership_term_token{{{_ELECTION}}}": "1x10 0x30",
            f"leadership_term_token{{{_OTHER}}}": "0x12 2x10 0x2 3x14",
        },
    ),
    "LeadershipCannotRenew": (
        {f"leadership_suspended_seconds_total{{{_ELECTION}}}": "0x30 3 6 6x8"},
        {f"leadership_suspended_seconds_total{{{_ELECTION}}}": "0x30 0.2 0.4 0.4x8"},
    ),
    "LeadershipRenewalsSlow": (
        {
            f'leadership_renew_seconds_bucket{{{_LATE}, le="1.0"}}': "0+1x40",
            f'leadership_renew_seconds_bucket{{{_LATE}, le="5.0"}}': "0+4x40",
            f'leadership_renew_seconds_bucket{{{_LATE}, le="+Inf"}}': "0+4x40",
            f"leadership_ttl_seconds{{{_ELECTION}}}": "15x40",
        },
        {
            f'leadership_renew_seconds_bucket{{{_LATE}, le="1.0"}}': "0+4x40",
            f'leadership_renew_seconds_bucket{{{_LATE}, le="5.0"}}': "0+4x40",
            f'leadership_renew_seconds_bucket{{{_LATE}, le="+Inf"}}': "0+4x40",
            f"leadership_ttl_seconds{{{_ELECTION}}}": "15x40",
        },
    ),
    "LeadershipLateWakeups": (
        {
            f'leadership_late_wakeup_seconds_bucket{{{_LATE}, le="1.0"}}': "0+3x20 60+3x19",
            f"leadership_late_wakeup_seconds_count{{{_LATE}}}": "0+3x20 62+3x19",
        },
        {
            f'leadership_late_wakeup_seconds_bucket{{{_LATE}, le="1.0"}}': "0+3x40",
            f"leadership_late_wakeup_seconds_count{{{_LATE}}}": "0+3x40",
        },
    ),
}


def test_rules_are_valid(promtool: Promtool) -> None:
    """Promtool accepts the file."""
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))


def test_each_alert_is_tried() -> None:
    """By both tests below."""
    assert set(_FIRES) == set(ALERTS)


@pytest.mark.parametrize("alert", _FIRES)
def test_alert_fires_on_its_series_only(alert: str, promtool: Promtool, tmp_path: Path) -> None:
    """With the durations of the file, at the end of ten minutes."""
    fires, quiet = _FIRES[alert]

    def case(series: dict[str, str], expected: int) -> dict[str, Any]:
        # Annotations and labels are not compared, but whether there is one of this name.
        count = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
        return {
            "interval": "15s",
            "input_series": [{"series": one, "values": many} for one, many in series.items()],
            "promql_expr_test": [
                {"expr": count, "eval_time": "10m", "exp_samples": [{"value": expected}]}
            ],
        }

    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [case(fires, 1), case(quiet, 0)],
    }
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps(document))

    promtool("test", "rules", str(file))


def _quick_rules(folder: Path) -> Path:
    """The rules with all durations of expressions and waits divided by thirty."""

    def quicker(match: re.Match[str]) -> str:
        return f"{int(match[1]) * {'s': 1000, 'm': 60_000}[match[2]] // 30}ms"

    lines = [
        line if "summary:" in line or "description:" in line else re.sub(r"\b(\d+)([sm])\b", quicker, line)
        for line in RULES.read_text().splitlines()
    ]  # fmt: skip
    file = folder / "quick.yml"
    file.write_text("\n".join(lines))
    return file


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_alerts_fire_when_it_happens(
    shared_etcd: Etcd, programs: Programs, prometheus: Prometheus, tmp_path: Path
) -> None:
    """A real server fires each alert for the program with that fault, and none for a healthy one."""

    def file(name: str) -> str:
        return f"sqlite:///{tmp_path}/{name}.db"

    keys = f"alerts/{uuid.uuid4()}/"
    with Proxy(shared_etcd.port) as cut, Proxy(shared_etcd.port) as slow:
        # Two files are two stores, as where programs are configured differently by mistake.
        first: list[tuple[str, str, float, str]] = [
            (file("a"), "healthy", 3, "lead"),
            (file("a"), "vacant", 3, "refuse"),
            (file("a"), "flapping", 3, "flap"),
            (file("a"), "double", 3, "lead"),
        ]
        programs.start("first", *first)
        programs.start("second", (file("b"), "double", 3, "lead"))
        programs.start("paused", (file("c"), "paused", 3, "lead"))
        programs.start("cut", (f"etcd://127.0.0.1:{cut.port}", keys + "cut", 6, "lead"))
        programs.start("slow", (f"etcd://127.0.0.1:{slow.port}", keys + "slow", 9, "lead"))
        server = prometheus(_quick_rules(tmp_path), programs)

        def leads(name: str) -> bool:
            time.sleep(0.2)  # between two queries
            return bool(server.query(f'leadership_is_leader{{instance="{name}"}} == 1'))

        def fires(alert: str, **labels: str) -> bool:
            time.sleep(0.2)  # between two queries
            wanted = {"alertname": alert, **labels}.items()
            return any(wanted <= one.items() for one in server.firing())

        for name in programs.ports:
            wait_until(partial(leads, name), 30, name)
        slow.delay = 0.9  # each way: 1.8 s of the 3 s that a renewal may take
        programs.processes["paused"].send(signal.SIGSTOP)
        wait_until(lambda: not leads("paused"), 20)
        time.sleep(3.0)  # its thread wakes two seconds late, at the least
        programs.processes["paused"].send(signal.SIGCONT)
        cut.cut("up", "down")

        happened = [
            ("LeadershipNoLeader", {"key": "vacant"}),
            ("LeadershipTwoLeaders", {"key": "double"}),
            ("LeadershipFlapping", {"key": "flapping"}),
            ("LeadershipLateWakeups", {"instance": "paused"}),
            ("LeadershipCannotRenew", {"instance": "cut"}),
            ("LeadershipLost", {"instance": "cut"}),
            ("LeadershipRenewalsSlow", {"instance": "slow"}),
        ]
        assert {alert for alert, _ in happened} == set(ALERTS)
        missing = list(happened)
        seen: list[dict[str, str]] = []

        def all_seen() -> bool:
            time.sleep(0.2)  # between two queries
            seen.extend(one for one in server.firing() if one not in seen)
            missing[:] = [
                (alert, labels)
                for alert, labels in happened
                if not any({"alertname": alert, **labels}.items() <= one.items() for one in seen)
            ]
            return not missing

        assert eventually(all_seen, 60), (missing, seen)
        healthy = [one for one in seen if one.get("key") == "healthy"]
        healthy += [one for one in seen if one.get("instance") in {"first", "second"}]
        assert healthy == []

        cut.heal()
        slow.delay = 0.0
        programs.processes["second"].terminate(at_most(10))
        wait_until(lambda: not fires("LeadershipTwoLeaders"), 30, "it resolves")
        wait_until(lambda: not fires("LeadershipCannotRenew"), 60, "it resolves")
