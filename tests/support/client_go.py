"""A candidate of client-go's `leaderelection`, built once from Go modules."""

from __future__ import annotations

from pathlib import Path

from tests.support.servers.kubernetes import Kubernetes
from tests.support.servers.process import Process
from tests.support.servers.requirements import found
from tests.support.waiting import wait_until

__all__ = ["ClientGo"]


class ClientGo:
    """One process; each event is a line of its output.

    Args:
        cluster: where the Lease is.
        folder: for its output.
        name: of the Lease.
        identity: its `holderIdentity`.
        duration: seconds; its LeaseDuration.
        release: whether it releases the Lease when it is stopped.
    """

    def __init__(
        self,
        cluster: Kubernetes,
        folder: Path,
        name: str,
        identity: str,
        *,
        duration: float = 2.0,
        release: bool = False,
    ) -> None:
        self.identity = identity
        words = {
            "kubeconfig": str(cluster.kubeconfig),
            "name": name,
            "identity": identity,
            "duration": f"{duration}s",
            "release": str(release).lower(),
        }
        command = [
            found("leaderelection").paths["leaderelection"],
            *(f"--{k}={v}" for k, v in words.items()),
        ]
        self.process = Process(command, folder / f"{identity}.log")
        self.process.start()

    @property
    def events(self) -> list[str]:
        """The lines so far: `leading`, `stopped`, `leader IDENTITY`."""
        return [
            line
            for line in self.process.log.read_text().splitlines()
            if line in {"leading", "stopped"} or line.startswith("leader ")
        ]

    @property
    def leads(self) -> bool:
        """Whether it believes that it leads."""
        mine = [line for line in self.events if line in {"leading", "stopped"}]
        return self.process.alive and mine[-1:] == ["leading"]

    def await_belief(self, seconds: float) -> None:
        """Wait until it leads."""
        wait_until(lambda: self.leads, seconds, f"{self.identity} leads")

    def stop(self) -> None:
        """Let it leave the election, and wait for its end."""
        self.process.terminate()

    def crash(self) -> None:
        """Kill it."""
        self.process.kill()
