"""The order in which the addresses of hosts are tried, and when names are resolved again."""

from __future__ import annotations

import socket
import threading

import pytest

from leadership_core import clock
from leadership_core.addresses import Address, Addresses, verified_name
from leadership_core.url import Host
from tests.scenarios.naming import Names
from tests.support.machine import at_most

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NAME = Host("name.test", 80)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names(monkeypatch)
    found.set("name.test", [ONE, TWO, THREE])
    return found


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the clock goes ahead."""
    ahead, now = [0.0], clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + ahead[0])
    return ahead


def _order(addresses: Addresses, seconds: float = 5.0) -> list[str]:
    attempts = addresses.attempts(clock.now() + seconds)
    return [str(one.address.sockaddr[0] if one.address else one.host) for one in attempts]


def _first(addresses: Addresses) -> Address:
    found = next(addresses.attempts(clock.now() + 5)).address
    assert found is not None
    return found


def test_each_address_of_a_name_is_tried_in_the_order_of_the_name_server(names: Names) -> None:
    """As the hosts of a URL are in its order."""
    names.set("other.test", ["127.0.0.9"])
    addresses = Addresses([NAME, Host("other.test", 80), Host(ONE, 81)], thread="t")
    assert _order(addresses) == [ONE, TWO, THREE, "127.0.0.9", ONE]
    assert addresses.count == 5


def test_what_failed_comes_last_and_what_works_first(names: Names) -> None:
    """With the one that failed first before the others that did."""
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


def test_a_failure_is_forgotten_in_time(names: Names, later: list[float]) -> None:
    """A server that was restarted is used again."""
    addresses = Addresses([NAME], thread="t")
    addresses.failed(_first(addresses))
    later[0] = 31.0
    assert _order(addresses) == [ONE, TWO, THREE]


def test_use_goes_round(names: Names) -> None:
    """Among those that have not failed."""
    addresses = Addresses([NAME], thread="t")
    addresses.failed(_first(addresses))
    used = []
    for _ in range(4):
        used.append(_first(addresses))
        addresses.used(used[-1])
    assert [one.sockaddr[0] for one in used] == [TWO, THREE, TWO, THREE]


def test_a_name_that_changes_is_followed(names: Names, later: list[float]) -> None:
    """It is resolved for a new connection, and not for one that stands."""
    addresses = Addresses([NAME], thread="t")
    addresses.works(_first(addresses))
    names.set("name.test", [THREE, "127.0.0.4"])
    later[0] = 1.5
    standing = addresses.attempts(clock.now() + 5, is_connected=lambda one: one.sockaddr[0] == ONE)
    assert next(standing).address == Address(NAME, socket.AF_INET, (ONE, 80))
    assert _order(addresses) == [THREE, "127.0.0.4"]
    assert addresses.count == 2


def test_a_name_server_without_an_answer_leaves_what_was_known(
    names: Names, later: list[float]
) -> None:
    """An answer that there is no such name does not."""
    # A name of its own: the look-up that hangs is shared with whoever asks for the same name.
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
    attempt = next(addresses.attempts(clock.now() + 1))
    assert attempt.address is None
    assert isinstance(attempt.error, socket.gaierror)


def test_a_host_without_an_address_does_not_hide_the_next(names: Names) -> None:
    """It fails alone, and comes last the next time."""
    names.set("gone.test", socket.gaierror(socket.EAI_NONAME, "unknown"))
    addresses = Addresses([Host("gone.test", 80), Host(TWO, 80)], thread="t")
    assert _order(addresses) == ["gone.test:80", TWO]
    assert _order(addresses) == [TWO, "gone.test:80"]


def test_the_time_is_shared_and_one_host_may_be_enough(names: Names) -> None:
    """Each address gets its part of what is left."""
    addresses = Addresses([NAME, Host("127.0.0.9", 80)], thread="t")
    _order(addresses)
    until = clock.now() + 4
    assert next(addresses.attempts(until)).until - clock.now() == pytest.approx(1.0, abs=0.2)
    one = list(addresses.attempts(until, one_host=True))
    assert len(one) == 3
    assert one[0].until - clock.now() == pytest.approx(4 / 3, abs=0.2)


def test_several_threads_use_it_at_once(names: Names) -> None:
    """None of them misses an address."""
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
def test_the_name_to_verify(host: str, name: str) -> None:
    """No certificate has the dot of a complete name, nor a zone."""
    assert verified_name(host) == name


def test_an_address_says_which_one_of_a_name_it_is(names: Names) -> None:
    """And is not repeated where the URL has it in figures."""
    assert str(_first(Addresses([NAME], thread="t"))) == "name.test:80 (127.0.0.1)"
    assert str(_first(Addresses([Host("::1", 80)], thread="t"))) == "[::1]:80"
    assert _first(Addresses([NAME], thread="t")).number == ONE
