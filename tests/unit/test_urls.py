"""The grammar of store URLs and of keys, and the masking of secrets."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from leadership_core import InvalidKey, StoreURL, URLError
from leadership_core.backend import Host
from leadership_core.backend.keys import join, normalise
from leadership_core.backend.url import as_seconds, as_text, flag


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("consul://h", StoreURL("consul", (Host("h"),))),
        ("CONSUL+tls://H:8500", StoreURL("consul", (Host("h", 8500),), tls=True)),
        ("memory://", StoreURL("memory")),
        ("sqlite:///rel.db", StoreURL("sqlite", path="rel.db")),
        ("sqlite:////abs/a.db", StoreURL("sqlite", path="/abs/a.db")),
        (
            "etcd://h1:1,[::1]:2,[fe80::1%eth0]/a/b",
            StoreURL("etcd", (Host("h1", 1), Host("::1", 2), Host("fe80::1%eth0")), "a/b"),
        ),
        (
            "etcd://us%40er:p%3Aw%2Fd@h/?a=1&b=x%20y&c=",
            StoreURL(
                "etcd", (Host("h"),), "", "us@er", "p:w/d", options={"a": "1", "b": "x y", "c": ""}
            ),
        ),
        ("consul://:token@h", StoreURL("consul", (Host("h"),), password="token")),
        ("zk://u:a:b@h", StoreURL("zk", (Host("h"),), username="u", password="a:b")),
    ],
)
def test_url_is_parsed(url: str, parts: StoreURL) -> None:
    """Each part is percent-decoded."""
    parsed = StoreURL.parse(url)

    assert parsed == parts
    assert parsed.password == parts.password
    assert dict(parsed.options) == dict(parts.options)
    assert StoreURL.parse(parsed) is parsed


@pytest.mark.parametrize(
    "url",
    [
        "", "consul", "consul:h", "//h", "://h", "1x://h", "con_sul://h", "consul+ssl://h",
        "consul://h:0", "consul://h:65536", "consul://h:x", "consul://h:", "consul://h,,i",
        "consul://h,", "consul://,h", "consul://h h", "consul://::1", "consul://[::1", "consul://[]",
        "consul://[g::1]", "consul://h#x", "consul://h/#x", "consul://h?a", "consul://h?a=1&b",
        "consul://h?a=1&a=2", "consul://h?a=%ff", "consul://h/%ff", "consul://%ff@h", "consul://a@b@h",
        "consul://h?a=1?b=2@x", "consul://u:p/w@h", "consul://u:p?w@h", "consul://u:1/w@h", "consul://h/@",
        " consul://h", "consul://h\n", "consul://h:٣", "consul://h/a//b?x=1#",
    ],
)  # fmt: skip
def test_invalid_url_is_rejected(url: str) -> None:
    """The error has one line."""
    with pytest.raises(URLError) as caught:
        _ = StoreURL.parse(url).prefix
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", [None, 3, b"consul://h"])
def test_url_of_another_type_is_rejected(url: str) -> None:
    """The error names the type."""
    with pytest.raises(URLError, match="must be a str, not"):
        StoreURL.parse(url)


SECRET = "Xk7secretQz"


@given(
    st.text("abc:@/?#&=%+ ,.[]~é", max_size=6),
    st.text("abc:@/?#&=%+ ,.[]~é", max_size=6),
    st.sampled_from(["token", "password", "secret", "my_token", "db_password"]),
    st.booleans(),
)
def test_secrets_are_masked_wherever_a_url_is_shown(
    before: str, after: str, option: str, spoilt: bool
) -> None:
    """No text, repr or error shows them, even if they are not quoted as they should be."""
    secret = f"{before}{SECRET}{after}"
    quoted = secret if spoilt else quote(secret, safe="")
    for url in (
        f"consul://user:{quoted}@h:1/prefix?dc=x",
        f"consul://:{quoted}@h:1,i:2",
        f"consul://h/prefix?{option}={quote(secret, safe='')}",
    ):
        try:
            parsed = StoreURL.parse(url)
            shown = [str(parsed), repr(parsed), str(parsed.with_options(dc="y"))]
            assert spoilt or parsed.password == secret or parsed.options[option] == secret
            parsed.read_options({"dc": as_text, option: as_seconds})
        except URLError as error:
            shown = [str(error), repr(error)]
        # Written without quoting, what follows a # / or ? in it may look like anything else.
        for one in shown:
            assert SECRET not in one, url


@given(st.text(max_size=20), st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_quoted_parts_survive_the_round_trip(user: str, path: str, value: str) -> None:
    """They may contain any text."""
    url = f"x://{quote(user, safe='')}:p@h/{quote(path, safe='')}?o={quote(value, safe='')}"
    parsed = StoreURL.parse(url)

    assert (parsed.username or "", parsed.path, parsed.options["o"]) == (user, path, value)


def test_options_are_read_or_refused() -> None:
    """An unknown option is refused with a list of the known ones and a suggestion."""
    known = {"tick": as_seconds, "verbose": flag}
    url = StoreURL.parse("zk://h?tick=2&verbose=true")
    assert url.read_options(known) == {"tick": 2.0, "verbose": True}
    assert url.with_options(tick=None, verbose=False).read_options(known) == {"verbose": False}
    for wrong, said in [
        ("zk://h?tikc=2", "did you mean 'tick'"),
        ("zk://h?tikc=2", "it has tick, verbose"),
        ("zk://h?tick=x", "'x' is not a number of seconds"),
        ("zk://h?tick=-1", "not a number of seconds"),
        ("zk://h?tick=nan", "not a number of seconds"),
        ("zk://h?verbose=yes", "neither true nor false"),
        ("zk://h?ca=f", "has no option 'ca'"),
        ("zk+tls://h", "has no TLS"),
    ]:
        with pytest.raises(URLError, match=said):
            StoreURL.parse(wrong).read_options(known)
    with pytest.raises(URLError, match=r"write zk\+tls://"):
        StoreURL.parse("zk://h?ca=f").read_options(known, tls=True)


def test_missing_host_and_port_are_filled_in() -> None:
    """The plugin gives the defaults."""
    url = StoreURL.parse("etcd://a,b:1").with_default_port(2379)
    assert [str(host) for host in url.hosts] == ["a:2379", "b:1"]
    assert str(StoreURL.parse("etcd://").with_default_port(2379)) == "etcd://localhost:2379"


# -- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("a", "a"),
        ("/a/b/", "a/b"),
        ("//a", "a"),
        ("a b/ü", "a b/ü"),
        (".lock/...", ".lock/..."),
        ("\uf900\ufb01", "\uf900\ufb01"),
    ],
)
def test_key_is_stripped_of_outer_slashes(key: str, plain: str) -> None:
    """This is its normal form."""
    assert normalise(key) == plain
    assert normalise(plain) == plain


@pytest.mark.parametrize(
    "key",
    ["", "/", "///", "a//b", ".", "..", "a/./b", "a/..", "a\nb", "a\0", "\x7f", "\x85", "\ud800",
     "\ue000", "\uf8ff", "\ufff0", chr(0xFFFD), "\uffff", "\U0001f600",
     "zookeeper", "/zookeeper/config", "x" * 513, "ü" * 257, None, 7, b"a", ["a"]],
)  # fmt: skip
def test_invalid_key_is_rejected(key: str) -> None:
    """Every call that takes a key refuses it, in one line."""
    with pytest.raises(InvalidKey) as caught:
        normalise(key)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_prefix_counts_for_the_length() -> None:
    """Key and prefix have 512 bytes of UTF-8 together, at most."""
    assert normalise("x" * 511, "") == "x" * 511
    assert len(join("p" * 100, normalise("x" * 411, "p" * 100))) == 512
    with pytest.raises(InvalidKey, match="513 bytes"):
        normalise("x" * 412, "p" * 100)


def test_reserved_first_part_of_a_key_is_rejected() -> None:
    """It is allowed below a prefix and in later parts of a key, and refused as a prefix."""
    assert normalise("zookeeper", "prefix") == "zookeeper"
    assert normalise("service/zookeeper") == "service/zookeeper"
    assert normalise("zookeepers/x") == "zookeepers/x"
    with pytest.raises(URLError, match="zookeeper"):
        _ = StoreURL.parse("consul://host/zookeeper").prefix
    with pytest.raises(InvalidKey, match="zookeeper"):
        normalise("x", "zookeeper/y")


@given(st.text(max_size=30))
def test_key_is_normal_or_refused(key: str) -> None:
    """This holds for any text, and a second normalisation changes nothing."""
    try:
        plain = normalise(key)
    except InvalidKey:
        return
    assert normalise(plain) == plain
    assert all(part not in {"", ".", ".."} for part in plain.split("/"))
