"""The live page in a browser: each state, each size, keyboard, contrast, and hostile values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from leadership_core import Candidate, Follower, Store, open_store
from leadership_core.status import StatusServer, serve
from tests.support.browser import Browser
from tests.support.waiting import wait_until
from tests.unit.faulty import Fault, FaultyStore

_numbers = itertools.count()

PHONE: dict[str, Any] = {"width": 360, "height": 740}

_CONTRASTS = """
const parse = (text) => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a];
};
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    if (at.matches("g.term")) return parse(getComputedStyle(at.querySelector("rect")).fill);
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color[3] === 1) return color;
  }
  return [255, 255, 255, 1];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || element.closest("noscript, template, .unseen, title") || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const color = parse(element instanceof SVGElement ? style.fill : style.color);
  const [light, dark] = [luminance(color), luminance(behind(element))].sort((a, b) => b - a);
  found.push([text, (light + 0.05) / (dark + 0.05)]);
}
return found;
"""


@contextmanager
def _page(browser: Browser, server: StatusServer, **options: Any) -> Iterator[Browser]:
    """The page; at the end, it has logged nothing and requested nothing from elsewhere."""
    browser.leave()  # or the page of the test before would log that its server has gone
    browser.console()
    browser.requests()
    browser.show(server.url, **options)
    browser.wait_for_text("#link-text", "live")
    yield browser
    assert browser.console() == []
    foreign = [url for url in browser.requests() if not url.startswith(server.url)]
    assert foreign == []


@pytest.fixture
def opener() -> Iterator[Callable[[], Store]]:
    """Open the same store again and again, as other programs would."""
    url = f"memory://page-{next(_numbers)}"
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_store(url))


def test_page_shows_the_leader_and_its_lease(browser: Browser, opener: Callable[[], Store]) -> None:
    """The headline, the term, and a bar that drains and refills."""
    with (
        Candidate(opener(), "service/api", "node-1", ttl=3) as candidate,
        serve([candidate]) as server,
        _page(browser, server),
    ):
        browser.wait_for_text("h2", "node-1 leads")
        token = browser.text(".token")
        title = browser.run("return document.title")
        script = (
            "return new DOMMatrix(getComputedStyle(document.querySelector('.fill')).transform).a"
        )
        seen: list[float] = []

        def has_refilled() -> bool:
            seen.append(float(browser.run(script)))
            steps = [after - before for before, after in itertools.pairwise(seen)]
            return min(steps, default=0) < -0.001 and max(steps, default=0) > 0.1

        browser.wait_for(has_refilled, "the bar drains and refills", 20)
        meter = browser.run(
            "const bar = document.querySelector('[role=meter]');"
            "return [bar.getAttribute('aria-valuetext'), bar.hidden]"
        )

    assert token == "1"
    assert title == "node-1 leads · service/api"
    assert re.fullmatch(r"[\d.]+ of [\d.]+ seconds", meter[0])
    assert meter[1] is False
    assert all(0 <= one <= 1 for one in seen)


def test_page_of_a_standby_follows_the_election(
    browser: Browser, opener: Callable[[], Store]
) -> None:
    """It shows the leader elsewhere, then no leader, then this program, without being reloaded."""
    with Candidate(opener(), "key", "node-1", ttl=6) as first:
        assert first.wait_elected(5)
        second = Candidate(opener(), "key", "node-2", ttl=6)
        with serve([second]) as server, _page(browser, server):
            browser.wait_for_text("h2", "node-1 leads")
            roles = browser.text(".roles")
            confirmed = browser.text(".pair")
            since = browser.text(".since-name")
            assert first.stop()
            browser.wait_for(
                lambda: re.fullmatch(r"No leader for \d+ s", browser.text("h2")), "vacancy"
            )
            vacant = browser.text(".facts")
            second.start()
            browser.wait_for_text("h2", "node-2 leads")
            browser.wait_for_text(".roles", "This program leads as node-2")
            browser.run("document.querySelector('summary').click()")
            rows = browser.text("tbody")
            announced = browser.run("return document.getElementById('announcements').textContent")
            second.stop()

    assert roles == "The candidate of this program, node-2, is not started"
    assert confirmed.startswith("Confirmed by the store")
    assert since == "Since before"
    assert vacant.startswith("Without a leader since")
    assert re.fullmatch(r"\d+ node-2 .* goes on 1 node-1 before .* ended", rows)
    assert announced == "key: node-2 leads"


def test_page_shows_an_outage_of_the_store(browser: Browser, tmp_path: Path) -> None:
    """A leader that cannot renew is shown as such, then as lost; the store's error is shown."""
    faulty = FaultyStore()
    with (
        faulty.opened() as store,
        Candidate(store, "key", "node-1", ttl=4) as candidate,
        serve([candidate]) as server,
        _page(browser, server, still=True),
    ):
        browser.wait_for_text("h2", "node-1 leads")
        browser.wait_for_text(".store-text", "store up")
        faulty.inject(Fault.UNAVAILABLE)
        browser.wait_for_text("h2", "node-1 leads, but cannot renew")
        browser.wait_for(lambda: "store down for" in browser.text(".store"), "the outage")
        browser.wait_for_text("h2", "No leader when last seen", 12)
        trouble = browser.text(".trouble")
        drawn = browser.run("return document.querySelectorAll('.outage').length")
        faulty.heal()
        browser.wait_for_text("h2", "node-1 leads", 12)
        browser.wait_for_text(".store-text", "store up")
        hidden = browser.run("return document.querySelector('.trouble').hidden")

    assert trouble == "faulty://test: cut off"
    assert drawn == 1
    assert hidden is True


def test_page_that_has_lost_its_program_says_so(
    browser: Browser, opener: Callable[[], Store]
) -> None:
    """Without the server it shows when it has heard last, and the state as last seen; it reconnects."""
    with Candidate(opener(), "key", "node-1", ttl=6) as candidate:
        with serve([candidate]) as server:
            browser.show(server.url)
            browser.wait_for_text("h2", "node-1 leads")
        browser.wait_for_text("h2", "node-1 led when last seen")
        browser.wait_for(lambda: browser.text("#link").startswith("no news for"), "the loss")
        with serve([candidate], port=server.port):
            browser.wait_for_text("h2", "node-1 leads", 20)
            browser.wait_for_text("#link-text", "live")


def test_page_of_a_paused_program_claims_no_lease_that_has_run_out(
    browser: Browser, opener: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is silent beyond its lease may be paused, so the page does not say that it leads."""
    with (
        Candidate(opener(), "key", "node-1", ttl=3) as candidate,
        serve([candidate]) as server,
        _page(browser, server),
    ):
        browser.wait_for_text("h2", "node-1 leads")
        monkeypatch.setattr(server._streams, "tick", lambda _: 1.0)
        browser.wait_for_text("h2", "node-1 led when last seen")
        link, roles = browser.text("#link-text"), browser.text(".roles")
        monkeypatch.undo()
        browser.wait_for_text("h2", "node-1 leads")
        browser.wait_for_text(".roles", "This program leads as node-1")

    assert roles == "This program led as node-1"
    assert link == "live", "the connection is open"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_page_fits_and_can_be_read(
    size: dict[str, Any], dark: bool, browser: Browser, tmp_path: Path
) -> None:
    """No text is below the contrast of WCAG AA, and nothing is wider than the window."""
    faulty = FaultyStore()
    long = "node-with-a-very-long-name-" + "x" * 150
    with (
        faulty.opened() as store,
        Candidate(store, "a" * 40 + "/" + "b" * 60, long, ttl=6) as first,
        serve([first, Follower(store, "vacant"), Follower(store, "c")]) as server,
        Candidate(store, "c", "node-1", ttl=6) as other,
        _page(browser, server, dark=dark, **size),
    ):
        assert other.wait_elected(5)
        browser.wait_for_text("section:nth-of-type(3) h2", "node-1 leads")
        browser.wait_for_text("h2", f"{long} leads")
        browser.run("for (const one of document.querySelectorAll('summary')) one.click()")
        faulty.inject(Fault.UNAVAILABLE)
        browser.wait_for(lambda: "cannot renew" in browser.text("h2"), "the outage")
        contrasts = browser.run(_CONTRASTS)
        widths = browser.run(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        background = browser.run("return getComputedStyle(document.body).backgroundColor")
        picture = tmp_path / "page.png"
        browser.screenshot(picture)
        faulty.heal()

    assert len(contrasts) > 30
    assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []
    assert widths[0] <= widths[1] == size.get("width", 1200)
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) is dark
    assert picture.stat().st_size > 5000


def test_page_can_be_used_with_the_keyboard(browser: Browser, opener: Callable[[], Store]) -> None:
    """Tab reaches the time line as one stop, arrow keys move between its terms and explain them."""
    with (
        Candidate(opener(), "key", "node-1", ttl=6) as candidate,
        serve([candidate]) as server,
    ):
        tokens = []
        for _ in range(4):
            term = candidate.wait_elected(5)
            assert term is not None
            tokens.append(term.token)
            if len(tokens) < 4:
                assert candidate.resign(cooldown=0.05)
        with _page(browser, server):
            browser.wait_for(
                lambda: browser.run("return document.querySelectorAll('.term').length") == 4,
                "terms",
            )
            browser.press("Tab")
            last = browser.text(".detail")
            browser.press("ArrowLeft")
            before = browser.text(".detail")
            browser.press("Home")
            first = browser.text(".detail")
            label = browser.run("return document.activeElement.getAttribute('aria-label')")
            browser.press("ArrowLeft", "End")
            end = browser.text(".detail")
            browser.press("Tab")
            summary = browser.run("return document.activeElement.tagName")
            browser.press("Enter")
            is_open = browser.run("return document.querySelector('details').open")
            landmarks = browser.run(
                "return ['header', 'main', 'footer', 'nav', 'h1', 'h2', 'section[aria-labelledby]']"
                ".filter((name) => !document.querySelector(name))"
            )

    assert last.startswith(f"Term {tokens[3]}: node-1, from ")
    assert last.endswith("goes on")
    assert before.startswith(f"Term {tokens[2]}: node-1")
    assert first.startswith(f"Term {tokens[0]}: node-1")
    assert first.endswith("resigned")
    assert label == first
    assert end.startswith(f"Term {tokens[3]}:")
    assert summary == "SUMMARY"
    assert is_open is True
    assert landmarks == []


def test_time_line_can_show_the_latest_minutes_only(
    browser: Browser, opener: Callable[[], Store]
) -> None:
    """After five minutes the user chooses how much of the history the time line shows."""
    with (
        Candidate(opener(), "key", "node-1", ttl=6) as candidate,
        serve([candidate]) as server,
    ):
        assert candidate.wait_elected(5)
        assert candidate.resign(cooldown=0.05)
        assert candidate.wait_elected(5)
        election = server._elections.records[0]
        wait_until(lambda: election.known and len(election.terms) == 2)
        # As if it had begun two hours ago: this election has been going on for a second.
        election.terms[0].began -= 7200
        election.terms[0].ended = election.terms[1].began = election.terms[0].began + 10
        with _page(browser, server):
            browser.wait_for(
                lambda: browser.text(".ranges").endswith("5 min 1 h 24 h all"), "the choice"
            )
            shown = "return document.querySelectorAll('.term:not(.past)').length"
            both = browser.run(shown)
            browser.press("Tab")
            browser.press("ArrowLeft")
            browser.press("ArrowLeft")
            browser.wait_for(lambda: browser.run(shown) == 1, "only the last hour")
            chosen = browser.run("return document.activeElement.value")
            width = browser.run(
                "return document.querySelector('.term:not(.past) rect').width.baseVal.value"
            )
            lane = browser.run("return document.querySelector('.timeline svg').clientWidth")

    assert both == 2
    assert chosen == "3600"
    assert width == pytest.approx(lane, abs=1)


@pytest.mark.parametrize(
    "value",
    [
        "<script>document.title='hacked'</script>",
        "<img src=x onerror=\"document.title='hacked'\">",
        '"><svg onload=alert(1)>',
        "javascript:alert(1)",
        "a\udcff\udc80b",
        "\u202egnirts\u0000\u0007",
        "{{7*7}}${7*7}<!-- rows -->",
    ],
)
def test_hostile_values_are_text(value: str, browser: Browser, opener: Callable[[], Store]) -> None:
    """The value of a leader is shown as it is, and nothing of it is run, loaded or interpreted."""
    with (
        Candidate(opener(), "key", value, ttl=6) as candidate,
        serve([candidate]) as server,
        _page(browser, server),
    ):
        shown = re.sub("[\udc00-\udfff]", "\ufffd", value)
        script = "return document.querySelector('.who').textContent.toWellFormed()"
        browser.wait_for(lambda: browser.run(script) == shown, "the value")
        elements = browser.run("return document.querySelectorAll('main img, main script').length")
        title = browser.run("return document.title.toWellFormed()")

    assert elements == 0
    assert "leads" in title


def test_page_without_scripts_is_a_snapshot(browser: Browser, opener: Callable[[], Store]) -> None:
    """A browser that runs no scripts shows a table, with the values escaped."""
    with (
        Candidate(opener(), "key", "<b>node-1</b>", ttl=6) as candidate,
        serve([candidate]) as server,
    ):
        assert candidate.wait_elected(5)
        wait_until(lambda: server._elections.records[0].known)
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            browser.show(server.url, **PHONE)
            source = browser.driver.page_source
        finally:
            browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    assert "<td>&lt;b&gt;node-1&lt;/b&gt;</td>" in source
    assert "memory://" in source
