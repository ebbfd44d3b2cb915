"""Two candidates, each with a link of its own, one of which leads."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.faults.stand import HasPort, Stand
from tests.scenarios.fleet import Reign, Worker
from tests.servers.link import Link

__all__ = ["Pair"]


@dataclass(frozen=True)
class Pair:
    """Who leads, who waits, and how they reach the store.

    Attributes:
        reign: of the one that leads.
        link: of that one.
        other: the one that waits.
        other_link: of that one.
    """

    reign: Reign
    link: Link
    other: Worker
    other_link: Link

    @property
    def links(self) -> tuple[Link, Link]:
        """Both."""
        return self.link, self.other_link

    @classmethod
    def of(cls, stand: Stand, *, to: HasPort | None = None) -> Pair:
        """Start both at the same time, and wait until one leads and the other waits.

        Args:
            stand: where.
            to: where their links lead, if not to the server.
        """
        links = [stand.link(to), stand.link(to)]
        workers = [
            stand.fleet.start(who, url=stand.url_through(link))
            for who, link in zip(("ann", "ben"), links, strict=True)
        ]
        for worker in workers:
            worker.await_event("campaigning", 15)
        reign = stand.leader()
        leads = workers.index(reign.worker)
        time.sleep(0.3)  # so that the other one stands, too
        return cls(reign, links[leads], workers[1 - leads], links[1 - leads])
