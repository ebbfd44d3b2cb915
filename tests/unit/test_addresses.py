"""Order in which the addresses of hosts are tried, and repeated resolution of host names."""

from __future__ import annotations

import socket
import threading

import pytest

from leadership_core.backend import clock
from leadership_core.backend.net import Address, Addresses, verified_name
from leadership_core.backend.url import Host
from tests.support.resolver import Names
from tests.support.waiting import at_most

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NAME = Host("name.test", 80)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names(monkeypatch)
    found.set("name.test", [ONE, TWO, THREE])
    return found


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the clock is ahead; a test may change them."""
    ahead, now = [0.0], clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + ahead[0])
    return ahead


def _order(addresses: Addresses, seconds: float = 60.0) -> list[str]:
    attempts = addresses.attempts(clock.now() + seconds)
    return [str(one.address.sockaddr[0] if one.address else one.host) for one in attempts]


def _first(addresses: Addresses) -> Address:
    found = next(addresses.attempts(clock.now() + 60)).address
    assert found is not None
    return found


def test_each_address_of_a_name_is_tried_in_the_order_of_the_name_server(names: Names) -> None:
    """Likewise, the hosts of a URL are tried in their order."""
    names.set("other.test", ["127.0.0.9"])
    addresses = Addresses([NAME, Host("other.test", 80), Host(ONE, 81)], thread="t")
    assert _order(addresses) == [ONE, TWO, THREE, "127.0.0.9", ONE]
    assert addresses.count == 5


def test_failed_address_comes_last_and_working_one_first(names: Names) -> None:
    """Of the failed addresses, the one whose failure is the oldest comes first."""
    addresses = Addresses([NAME], thread="t")
    first = _first(addresses)
    addresses.works(first)
    addresses.failed(first)
    assert _order(addresses) == [TWO, THREE, ONE]
    addresses.failed(_first(addresses))
    assert _order(addresses) == [THREE, ONE, TWO]
    addresses.works(_first(addresses))
    addresses.works(first)  # an answer that was on its way: it says nothing new
    assert _order(addresses) == [THREE, ONE, TWO]


def test_failure_of_an_address_is_forgotten(names: Names, later: list[float]) -> None:
    """A server that was restarted is used again."""
    addresses = Addresses([NAME], thread="t")
    addresses.failed(_first(addresses))
    later[0] = 31.0
    assert _order(addresses) == [ONE, TWO, THREE]


def test_used_address_comes_last(names: Names) -> None:
    """It is the last of the addresses that have not failed."""
    addresses = Addresses([NAME], thread="t")
    addresses.failed(_first(addresses))
    used = []
    for _ in range(4):
        used.append(_first(addresses))
        addresses.used(used[-1])
    assert [one.sockaddr[0] for one in used] == [TWO, THREE, TWO, THREE]


def test_changed_addresses_of_a_name_are_used(names: Names, later: list[float]) -> None:
    """The name is resolved for each new connection; open connections stay."""
    addresses = Addresses([NAME], thread="t")
    addresses.works(_first(addresses))
    names.set("name.test", [THREE, "127.0.0.4"])
    later[0] = 1.5
    status = addresses.attempts(clock.now() + 60, is_connected=lambda one: one.sockaddr[0] == ONE)
    assert next(status).address == Address(NAME, socket.AF_INET, (ONE, 80))
    assert _order(addresses) == [THREE, "127.0.0.4"]
    assert addresses.count == 2


def test_addresses_are_kept_without_an_answer_of_the_name_server(
    names: Names, later: list[float]
) -> None:
    """An answer that the name does not exist removes them."""
    # A name of its own: the look-up that hangs is shared by all calls with that name.
    names.set("slow.test", [ONE, TWO, THREE])
    addresses = Addresses([Host("slow.test", 80)], thread="t")
    assert len(_order(addresses)) == 3
    for seconds, error in ((0.0, socket.gaierror(socket.EAI_AGAIN, "try again")), (3.0, None)):
        names.set("slow.test", error or [THREE], seconds=seconds)
        later[0] += 1.5
        began = clock.now()
        assert _order(addresses, 0.4) == [ONE, TWO, THREE]
        assert clock.now() - began < at_most(0.4)
    addresses = Addresses([NAME], thread="t")
    assert len(_order(addresses)) == 3
    names.set("name.test", socket.gaierror(socket.EAI_NONAME, "unknown"))
    later[0] += 1.5
    attempt = next(addresses.attempts(clock.now() + at_most(5)))
    assert attempt.address is None
    assert isinstance(attempt.error, socket.gaierror)


def test_host_without_an_address_is_skipped(names: Names) -> None:
    """Only this host fails, and it is tried last the next time."""
    names.set("gone.test", socket.gaierror(socket.EAI_NONAME, "unknown"))
    addresses = Addresses([Host("gone.test", 80), Host(TWO, 80)], thread="t")
    assert _order(addresses) == ["gone.test:80", TWO]
    assert _order(addresses) == [TWO, "gone.test:80"]


def test_attempts_share_the_time(names: Names) -> None:
    """Each address gets an equal share of the remaining time."""
    addresses = Addresses([NAME, Host("127.0.0.9", 80)], thread="t")
    _order(addresses)
    until = clock.now() + 4
    assert next(addresses.attempts(until)).until - clock.now() == pytest.approx(1.0, abs=0.2)
    one = list(addresses.attempts(until, one_host=True))
    assert len(one) == 3
    assert one[0].until - clock.now() == pytest.approx(4 / 3, abs=0.2)


def test_addresses_are_thread_safe(names: Names) -> None:
    """Each of several threads tries every address."""
    addresses, found = Addresses([NAME], thread="t"), []

    def work() -> None:
        for _ in range(50):
            order = list(addresses.attempts(clock.now() + 5))
            addresses.failed(order[0].address or order[0].host)
            addresses.works(order[-1].address or _first(addresses))
            found.append(len(order))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert set(found) == {3}


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.example.", "a.example"), ("a", "a"), ("::1", "::1"), ("fe80::1%eth0", "fe80::1")],
)
def test_verified_name_has_no_final_dot_and_no_zone(host: str, name: str) -> None:
    """Certificates contain neither."""
    assert verified_name(host) == name


def test_address_text_has_name_and_number(names: Names) -> None:
    """The IP address is in parentheses after a host name; a numeric host has none."""
    assert str(_first(Addresses([NAME], thread="t"))) == "name.test:80 (127.0.0.1)"
    assert str(_first(Addresses([Host("::1", 80)], thread="t"))) == "[::1]:80"
    assert _first(Addresses([NAME], thread="t")).number == ONE
