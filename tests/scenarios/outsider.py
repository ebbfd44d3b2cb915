"""Programs that are not ours and stand in the same election: what is known of their beliefs."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

from tests.scenarios.diary import Belief, Diary, Note, now
from tests.scenarios.fleet import ROOT, await_true
from tests.servers.etcd import Etcd
from tests.servers.process import Process
from tests.servers.zookeeper import ZooKeeper

__all__ = ["Etcdctl", "Kazoo", "Outsider"]


class Outsider:
    """One of them, and its diary."""

    process: Process
    diary: Diary

    def await_belief(self, seconds: float) -> None:
        """Wait until it leads."""
        try:
            await_true(f"{self.diary.who} leads", self.leads, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.tail()}") from None

    def leads(self) -> bool:
        """Whether it believes now."""
        raise NotImplementedError

    def stop(self) -> None:
        """Tell it to leave, and wait until it has."""
        self.process.terminate()

    def crash(self) -> None:
        """End it without a chance to leave."""
        self.process.kill()


class Etcdctl(Outsider):
    """`etcdctl elect`: it prints its key when it is elected, and leads until it is ended."""

    def __init__(self, etcd: Etcd, folder: Path, name: str, number: int) -> None:
        self.diary = Diary(folder / "none", f"etcdctl {number}")
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
        if not self.diary.beliefs:
            token = self._token(found[0])
            who = self.diary.who
            self.diary.notes += [Note(since, "campaigning"), Note(since, "elected", token)]
            self.diary.beliefs.append(Belief(who, token, since, since, open=False))
        self.diary.beliefs[-1].until = since
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


class Kazoo(Outsider):
    """kazoo's `Election` in a process of its own, which writes a diary as our workers do."""

    def __init__(self, zookeeper: ZooKeeper, folder: Path, path: str, number: int) -> None:
        self.diary = Diary(folder / f"kazoo-{number}.diary", f"kazoo {number}")
        where = f"{zookeeper.host}:{zookeeper.port}"
        words = [where, path, f"kazoo-{number}", str(self.diary.file)]
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "tests.scenarios.kazoo_child", *words]
        self.process = Process(command, folder / f"kazoo-{number}.log", environment)
        self.process.start()
        await_true("it stands", lambda: "campaigning" in self.diary.names(), 15)

    def leads(self) -> bool:
        return self.diary.read().belief is not None

    def crash(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.kill()
