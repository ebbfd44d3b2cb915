"""Prometheus for the tests of metrics and alert rules."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.servers.local import LocalServer
from tests.support.servers.ports import free_port
from tests.support.servers.process import Process
from tests.support.servers.provision import Server

__all__ = ["PrometheusServer"]


class PrometheusServer(LocalServer):
    """A server that scrapes local programs twice a second, and evaluates rules as often.

    Args:
        server: where the program is.
        folder: for its configuration, its data and its log.
        rules: a file of rules.
        targets: the port of each program that it scrapes, by the name that is its `instance`.
    """

    def __init__(
        self, server: Server, folder: Path, rules: Path, targets: Mapping[str, int]
    ) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        interval = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        groups = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
            for name, port in targets.items()
        ]
        config = {
            "global": interval,
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "tests", "static_configs": groups}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # which is YAML, too
        command = [
            server.paths["prometheus"],
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--query.lookback-delta=5s",
            "--log.level=warn",
        ]
        self.process = Process(command, folder / "log")

    def serves(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def query(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """The values of an expression at this moment, by their labels."""
        found = self._get("query", query=expression)
        return {frozenset(one["metric"].items()): float(one["value"][1]) for one in found["result"]}

    def firing(self) -> list[dict[str, str]]:
        """The labels of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

    def _get(self, what: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/{what}?{query}", timeout=10
        ) as answer:
            return json.load(answer)["data"]
