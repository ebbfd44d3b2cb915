"""Mistyped URLs, keys, ttls and options: errors of the library, without the secret."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, strategies as st

from leadership_core import Candidate, Follower, StoreURL, open_store
from leadership_core.backend.keys import normalise
from leadership_core.backend.url import as_seconds, as_text, flag
from leadership_core.errors import ConfigurationError, InvalidKey, LeadershipError, URLError
from tests.fuzz.oracles import SECRET, check_error, examples

SCHEMES = ["consul", "etcd", "zk", "zookeeper", "sqlite", "memory", "CONSUL", "nosuch"]
OPTIONS = [
    "dc=x", "lock_delay=1", "lock_delay=-1", "lock_delay=nan", "ca=x", "verify=maybe", "tick=2",
    "tick=0", "tick=x", "nosuch=1", "dc", "=", "=x", "a=%ff", "cert=", "key=%00", "timeout=1e999",
]  # fmt: skip
HOSTS = [
    "h",
    "h:1",
    "[::1]:2",
    "h,i:2,[fe80::1%eth0]",
    "",
    "h:0",
    "h:x",
    "127.0.0.1:99999",
    "h..i",
    "-",
]
PATHS = ["", "/", "/a/b", "//a", "/a//b", "/%2e%2e/x", "/%00", "/" + "a" * 600, "/zookeeper", "/é"]
BREAKS = [*"@:/?#&=%,+[] \n\0\\;", "", "//", "%2", "%ff", "@@", "é", "\ud800"]

secrets = st.builds(
    lambda before, after: f"{before}{SECRET}{after}",
    st.text("ab:@/?#&=%+ ,.[]~é", max_size=3),
    st.text("ab:@/?#&=%+ ,.[]~é", max_size=3),
)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """A URL with a secret, and up to two typing errors."""
    secret = draw(secrets)
    quoted = secret if draw(st.integers(0, 3)) == 0 else quote(secret, safe="")
    at = draw(
        st.sampled_from(["password", "user and password", "token", "token_file", "password="])
    )
    user = draw(st.sampled_from(["", "root", "a%40b"])) if at != "password" else ""
    who = f"{user}:{quoted}@" if "=" not in at and at.endswith("password") else ""
    options = draw(st.lists(st.sampled_from(OPTIONS), max_size=2))
    if not who:
        options.insert(draw(st.integers(0, len(options))), f"{at.strip('=')}={quoted}")
    url = (
        draw(st.sampled_from(SCHEMES))
        + draw(st.sampled_from(["", "", "+tls"]))
        + f"://{who}{draw(st.sampled_from(HOSTS))}{draw(st.sampled_from(PATHS))}"
        + (f"?{'&'.join(options)}" if options else "")
    )
    for _ in range(draw(st.integers(0, 2))):
        where = draw(st.integers(0, len(url)))
        url = url[:where] + draw(st.sampled_from(BREAKS)) + url[where + draw(st.integers(0, 1)) :]
    return url


def _may_show(url: StoreURL) -> bool:
    """Whether the typing errors have moved the secret to a part of the URL that is not secret."""
    options = list(url.options) + [
        value
        for name, value in url.options.items()
        if "token" not in name and "password" not in name
    ]
    places = [url.path, url.username or "", url.scheme, *map(str, url.hosts), *options]
    return any(SECRET.lower() in place.lower() for place in places) or "token_file" in url.options


@pytest.mark.slow
@given(urls())
@example(f"consul://:{SECRET}")
@example(f"consul://:{SECRET}h:8500/prefix")
@example(f"etcd://root:{SECRET}:h")
@example(f"consul://{SECRET}:@h,i:0:{SECRET}")
@example(f"consul://h?token=a&{SECRET}=b")
@example(f"consul://h?token=a&{SECRET}=b&{SECRET}=c")
@example(f"consul://h?TOKEN={SECRET}")
@example(f"consul://h?passwd={SECRET}")
@example(f"consul://h?dc=x;token={SECRET}")
@example(f"consul://:{SECRET}@h/\ud800")
@examples(1500)
def test_mistyped_url_shows_no_secret(url: str) -> None:
    """Neither the parsed URL nor an error of the core or of the plugin contains the secret."""
    try:
        parsed = StoreURL.parse(url)
    except URLError as error:
        check_error(error)
        return
    if _may_show(parsed):
        return
    for shown in (str(parsed), repr(parsed), str(parsed.with_options(dc="y"))):
        assert SECRET not in shown, url
    try:
        parsed.read_options(
            {"dc": as_text, "token": as_seconds, "lock_delay": as_seconds, "v": flag}
        )
    except URLError as error:
        check_error(error)
    if parsed.scheme == "sqlite" and parsed.path:
        return  # the result depends on the file system
    try:
        store = open_store(parsed)
    except LeadershipError as error:
        check_error(error)
    else:
        assert SECRET not in f"{store.url} {store!r}"
        store.close(0.1)


@given(
    st.text(max_size=40)
    | st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
@examples(500)
def test_any_text_is_a_url_or_refused(url: str) -> None:
    """The text of a parsed URL gives the same URL."""
    try:
        parsed = StoreURL.parse(url)
    except URLError as error:
        check_error(error)
        return
    if parsed.password is None and "***" not in str(parsed):
        assert StoreURL.parse(str(parsed)) == parsed


ODD: list[Any] = [
    None, True, 0, -1, 10**400, 10**5000, -(10**5000), float("nan"), float("inf"), 1e-320, 1e308, "15", b"15",
    [], {}, object(), 15j, "", "\0", "a\nb", "\ud800", "a" * 70_000, "😀", "../..", "a//b", ("a",),
]  # fmt: skip
odd = st.sampled_from(ODD) | st.text(max_size=600) | st.floats() | st.integers()


@given(odd)
@examples(500)
def test_key_is_normalised_or_refused(key: Any) -> None:
    """For any value; the error is one line of less than 300 characters."""
    try:
        plain = normalise(key)
    except InvalidKey as error:
        check_error(error)
        said = str(error)
    else:
        said = ""
        assert normalise(plain) == plain
    assert len(said) < 300


SIZES = [value for value in ODD if not (isinstance(value, int) and abs(value) > 10**4000)]


@pytest.mark.slow
@given(
    odd, odd, st.sampled_from(SIZES) | st.floats(), st.none() | st.sampled_from(SIZES) | st.floats()
)
@examples(500)
def test_candidate_is_created_or_refused(key: Any, value: Any, ttl: Any, margin: Any) -> None:
    """Constructors raise ConfigurationError only, for any arguments."""
    with open_store("memory://fuzz") as store:
        for make in (
            lambda: Candidate(store, key, value, ttl=ttl, margin=margin),
            lambda: Follower(store, key),
            lambda: store.lock(key, value, ttl=ttl, margin=margin),
        ):
            try:
                make()
            except ConfigurationError as error:
                check_error(error)


@pytest.mark.parametrize("scheme", ["consul", "etcd", "zk", "memory", "sqlite"])
@pytest.mark.parametrize("option", ["token", "dc", "ca", "nosuch", "lock_delay", "tick"])
@given(odd)
@examples(15)
def test_option_is_accepted_or_refused(scheme: str, option: str, value: Any) -> None:
    """As a keyword of `open_store`, with a value of any type."""
    if type(value) is int and abs(value) > 10**4000:
        return  # Python refuses to print such numbers
    try:
        open_store(f"{scheme}://", **{option: value}).close(0.1)
    except LeadershipError as error:
        check_error(error)
