"""Candidates of other client libraries (`etcdctl elect`, kazoo, Curator), and their recordings."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.paths import python_path
from tests.support.recording import Interval, RecordedEvent, Recording, now
from tests.support.servers.etcd import Etcd
from tests.support.servers.process import Process
from tests.support.servers.provision import Server
from tests.support.servers.zookeeper import ZooKeeper
from tests.support.waiting import wait_until

__all__ = ["Curator", "Etcdctl", "ForeignClient", "Kazoo"]


class ForeignClient:
    """A candidate of another client library, with its recording."""

    process: Process
    recording: Recording

    def await_belief(self, seconds: float) -> None:
        """Wait until it is leader."""
        try:
            wait_until(self.leads, seconds, f"{self.recording.who} leads")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None

    def leads(self) -> bool:
        """Whether it is leader now."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let it leave the election, and wait for its end."""
        self.process.terminate()

    def crash(self) -> None:
        """Kill it."""
        self.process.kill()


class Etcdctl(ForeignClient):
    """`etcdctl elect`: it prints its key when elected, and leads until it is stopped."""

    def __init__(self, etcd: Etcd, folder: Path, name: str, number: int) -> None:
        self.recording = Recording(folder / "none", f"etcdctl {number}")
        log = folder / f"etcdctl-{number}.log"
        self.process = etcd.cli_process("elect", name, f"etcdctl-{number}", log=log)
        self._etcd, self._name = etcd, name
        self.process.start()

    def leads(self) -> bool:
        since = now()
        found = re.search(
            rf"^{re.escape(self._name)}/[0-9a-f]+$", self.process.tail(), re.MULTILINE
        )
        if not found or not self.process.alive:
            return False
        if not self.recording.intervals:
            token = self._token(found[0])
            who = self.recording.who
            self.recording.events += [
                RecordedEvent(since, "campaigning"),
                RecordedEvent(since, "elected", token),
            ]
            self.recording.intervals.append(Interval(who, token, since, since, open=False))
        self.recording.intervals[-1].until = since
        return True

    def stop(self) -> None:
        self.leads()
        self.process.terminate()

    def crash(self) -> None:
        self.leads()
        super().crash()

    def _token(self, key: str) -> int:
        said = self._etcd.cli("get", key, "-w", "fields").stdout
        found = re.search(r'"CreateRevision" : (\d+)', said)
        assert found, said
        return int(found[1])


class Kazoo(ForeignClient):
    """kazoo's `Election` in its own process, with a recording in the format of our workers."""

    def __init__(self, zookeeper: ZooKeeper, folder: Path, path: str, number: int) -> None:
        self.recording = Recording(folder / f"kazoo-{number}.recording", f"kazoo {number}")
        where = f"{zookeeper.host}:{zookeeper.port}"
        words = [where, path, f"kazoo-{number}", str(self.recording.file)]
        command = [sys.executable, "-m", "tests.support.kazoo_child", *words]
        self.process = Process(command, folder / f"kazoo-{number}.log", python_path())
        self.process.start()
        wait_until(lambda: "campaigning" in self.recording.names(), 15, "it campaigns")

    def leads(self) -> bool:
        return self.recording.read().interval is not None

    def crash(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.kill()


class Curator(ForeignClient):
    """Curator's LeaderLatch or LeaderSelector in its own process; see `CuratorCandidate.java`.

    Args:
        program: where java and the classes are.
        zookeeper: the server.
        folder: for its recording and its output.
        path: of the election.
        recipe: ``curator-latch`` or ``curator-selector``.
        number: makes its id, ``curator-1``.
        port: of the server or of a proxy, if it is not the server's own.
    """

    SESSION = 4000  # milliseconds

    def __init__(
        self,
        program: Server,
        zookeeper: ZooKeeper,
        folder: Path,
        path: str,
        recipe: str,
        number: int = 1,
        *,
        port: int = 0,
    ) -> None:
        self.name = f"curator-{number}"
        self.recording = Recording(folder / f"{self.name}.recording", self.name)
        # Java reads the monotonic clock, and recordings have the boot clock.
        ahead = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(
            time.CLOCK_MONOTONIC
        )
        command = [
            program.paths["java"],
            "-Xms16m",
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            program.paths["classpath"],
            "CuratorCandidate",
            f"{zookeeper.host}:{port or zookeeper.port}",
            path,
            recipe.removeprefix("curator-"),
            self.name,
            str(self.recording.file),
            str(self.SESSION),
            str(ahead),
        ]
        self.process = Process(command, folder / f"{self.name}.log")
        self.process.start()

    def await_campaign(self) -> None:
        """Wait until it campaigns."""
        self._await(lambda: "campaigning" in self.recording.names(), 30, "campaigns")

    def leads(self) -> bool:
        return self.recording.read().interval is not None and self.process.alive

    def await_leader(self, value: str, seconds: float = 5) -> None:
        """Wait until Curator reads a leader with that value as its id."""
        self._await(lambda: self._leaders()[-1:] == [value], seconds, f"reads the leader {value}")

    def session(self) -> int:
        """The number of its session."""
        (found,) = [one["session"] for one in self.recording.read().remarks if "session" in one]
        return int(found)

    def resign(self) -> None:
        """Give up the leadership, and stand again."""
        self.process.send(signal.SIGHUP)

    def _leaders(self) -> list[str]:
        return [one["leader"] for one in self.recording.read().remarks if "leader" in one]

    def _await(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            wait_until(condition, seconds, f"{self.name} {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None
