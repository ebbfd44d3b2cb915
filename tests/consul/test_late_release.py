"""A release that the network has held back, and delivers in a later term of the same session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from leadership_core.budget import budget
from leadership_core.store import Claim, Leading
from tests.conftest import ProxyFactory
from tests.consul.conftest import Opener
from tests.servers.consul import Consul


def test_a_release_that_arrives_late_ends_no_later_term(
    consul: Consul, proxy: ProxyFactory, opened: Opener, unique_key: str
) -> None:
    """It was sent again, and the session leads anew, when the first copy arrives."""
    link = proxy(consul.port)
    store = opened(consul.url_at(link.port))
    session = store.open_session(10)
    election = store.election(unique_key)
    first = election.enter(session, b"Frank")
    held = link.hold(b'"unlock"')

    def withdraw(claim: Claim) -> None:
        with budget(8):
            election.withdraw(claim)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(withdraw, first)
        assert held.caught.wait(5)
        withdraw(first)
        second = election.enter(session, b"Frank")
        assert second.token is not None
        held.release()
        late.result(10)

    assert election.standing(second) == Leading(second.token)
    session.close()
