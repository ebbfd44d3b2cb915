"""Store URLs: ``scheme[+tls]://[user[:password]@]host[:port][,host...][/path][?option=value]``.

The hosts are parsed here and not by `urllib.parse.urlsplit`, which allows a single one only,
and in current security releases refuses ``h1:1,[::1]:2``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ..errors import InvalidKey, URLError
from .duration import parse_duration
from .keys import normalise
from .tracebacks import HiddenText, bare

__all__ = ["TLS_OPTIONS", "Host", "StoreURL", "as_seconds", "as_text", "flag"]

_URL = re.compile(
    r"""
    (?P<scheme> [A-Za-z][A-Za-z0-9.-]* (?: \+sentinel )? ) (?P<tls> \+tls )? ://
    (?: (?P<user> [^:@/?\#]* ) (?: : (?P<password> [^@/?\#]* ) )? @ )?
    (?P<hosts> [^@/?\#]* )
    (?P<path> / [^?\#]* )?
    (?: \? (?P<query> [^\#]* ) )?
    """,
    re.VERBOSE,
)
_HOST = re.compile(
    r"(?: \[ (?P<v6> [0-9A-Fa-f:.]+ (?: %\w+ )? ) \] | (?P<name> [A-Za-z0-9._-]+ ) )"
    r"(?: : (?P<port> \d+ ) )?",
    re.VERBOSE | re.ASCII,
)
_SECRET = re.compile(
    r"""
    (?! [a-z]+_file $ )  # the path of a file with a secret is not secret
    (?: .* [^a-z] )? (token | pass | passw(or)?d | pwd | secret | credentials? | api_?key)
    (?: [^a-z] .* )?
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_SECRET_INSIDE = re.compile(r"(token|passw(or)?d|secret) *[=:]", re.IGNORECASE)
_SHAPE = "scheme://host[:port][,host...][/prefix][?option=value]"

Reader = Callable[[str], Any]


def as_text(value: str) -> str:
    """Read an option that is any text but the empty one."""
    if not value:
        raise ValueError("it is empty")
    return value


def as_seconds(value: str) -> float:
    """Read an option that is a duration of 0 s or more: `15`, `15s`, `1m30s`, `500ms`."""
    try:
        number = parse_duration(value)
    except ValueError:
        number = -1.0
    if number < 0:
        raise ValueError(f"{value!r:.60} is not a number of seconds, such as 15, 15s or 500ms")
    return number


def flag(value: str) -> bool:
    """Read an option that is true or false."""
    if value not in {"true", "false"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return value == "true"


TLS_OPTIONS: Mapping[str, Reader] = MappingProxyType(
    {"ca": as_text, "cert": as_text, "key": as_text, "verify": flag}
)
"""The TLS files, and whether the server's certificate is checked; the same on every store with TLS."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a store URL; `port` is None where the URL names none."""

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, address: str) -> Self:
        match = _HOST.fullmatch(address)
        if match is None:
            # The text is not repeated: it holds a password if the @ after that was forgotten.
            raise URLError("the part after :// is not host[:port], or several separated by commas")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise URLError("the port must be between 1 and 65535")
        return cls(match["v6"] or match["name"].lower(), port)

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class StoreURL:
    """A parsed store URL.

    `str` masks every secret, and `repr` omits all parts that may hold one: both may be logged.

    Attributes:
        scheme: the name of the plugin, in lower case.
        hosts: in the order of the URL; empty if it names none.
        path: the part after the first slash, percent-decoded.
        username: percent-decoded.
        password: percent-decoded.
        tls: whether the scheme was followed by ``+tls``.
        options: the query, percent-decoded, every option at most once.
    """

    scheme: str
    hosts: tuple[Host, ...] = ()
    path: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str | StoreURL) -> StoreURL:
        """Parse a URL.

        Raises:
            URLError: it is not a store URL; the message names the problem, and no secret.
        """
        if isinstance(url, StoreURL):
            return url
        if not isinstance(url, str):
            raise URLError(f"the store URL must be a str, not {type(url).__name__}")
        try:
            return cls._parse(HiddenText(url))
        except URLError as error:
            problem = bare(error)
        del url  # a traceback with variables would show it
        raise problem

    @classmethod
    def _parse(cls, url: str) -> StoreURL:
        _check_text(url)
        match = _URL.fullmatch(url)
        if match is None or "@" in f"{match['path']}{match['query']}":
            raise URLError(f"not a store URL: {_complaint(url)}; expected {_SHAPE}")
        return cls(
            scheme=match["scheme"].lower(),
            hosts=tuple(map(Host.parse, match["hosts"].split(","))) if match["hosts"] else (),
            path=_decode((match["path"] or "")[1:]),
            username=_decode(match["user"]) if match["user"] else None,
            password=(
                HiddenText(_decode(match["password"])) if match["password"] is not None else None
            ),
            tls=match["tls"] is not None,
            options=MappingProxyType(_options(match["query"] or "")),
        )

    @property
    def prefix(self) -> str:
        """The path as a normalised key prefix; raises `URLError` if it cannot be one."""
        if not self.path.strip("/"):
            return ""
        try:
            return normalise(self.path)
        except InvalidKey as error:
            raise URLError(f"the path of the URL is not a valid key prefix: {error}") from error

    def with_default_port(self, port: int) -> StoreURL:
        """Add the port to hosts without one, and localhost if the URL names no host."""
        hosts = self.hosts or (Host("localhost"),)
        return replace(self, hosts=tuple(h if h.port else replace(h, port=port) for h in hosts))

    def with_options(self, **options: object) -> StoreURL:
        """Replace options of the same name; the value None removes one."""
        merged = dict(self.options)
        for name, value in options.items():
            if value is None:
                merged.pop(name, None)
            else:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                merged[name] = HiddenText(text) if _is_secret(name, text) else text
                _check_text(merged[name])
        return replace(self, options=MappingProxyType(merged))

    def read_options(self, known: Mapping[str, Reader], *, tls: bool = False) -> dict[str, Any]:
        """Read the options of the URL, each with its reader.

        Args:
            known: a reader for each option of the store; it raises ValueError.
            tls: whether the store has TLS; `TLS_OPTIONS` are known then, too.

        Raises:
            URLError: an option is unknown, or its value is wrong.
        """
        if self.tls and not tls:
            raise URLError(f"{self.scheme}:// has no TLS: leave out +tls")
        readers = {**known, **(TLS_OPTIONS if tls else {})}
        found = {}
        for name, value in self.options.items():
            if name not in readers:
                hides = any(_SECRET.fullmatch(other) for other in self.options)
                raise URLError(_unknown(self.scheme, name, sorted(readers), hide=hides))
            if tls and name in TLS_OPTIONS and not self.tls:
                raise URLError(f"option {name!r} needs TLS: write {self.scheme}+tls://")
            try:
                found[name] = readers[name](value)
            except ValueError as error:
                reason = "its value is invalid" if _is_secret(name, value) else error
                raise URLError(f"option {name!r} of {self.scheme}://: {reason}") from None
        return found

    def __str__(self) -> str:
        user = quote(self.username or "", safe="")
        who = f"{user}:***@" if self.password is not None else f"{user}@" if user else ""
        masked = {k: "***" if _is_secret(k, v) else v for k, v in self.options.items()}
        query = urlencode(masked, safe="*/")
        return (
            f"{self.scheme}{'+tls' if self.tls else ''}://{who}{','.join(map(str, self.hosts))}"
            + (f"/{quote(self.path)}" if self.path else "")
            + (f"?{query}" if query else "")
        )


def _check_text(part: str) -> None:
    try:
        part.encode()
    except UnicodeEncodeError:
        raise URLError("a part of the URL is not UTF-8") from None


def _decode(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise URLError("a part of the URL is not UTF-8 once it is percent-decoded") from None


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError:
        raise URLError("the query of the URL is not option=value&option=value") from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if name in options:
            hides = any(_SECRET.fullmatch(other) for other, _ in pairs)
            raise URLError(f"option {'...' if hides else repr(name)} is given twice")
        options[name] = HiddenText(value) if _is_secret(name, value) else value
    return options


def _is_secret(name: str, value: str) -> bool:
    # A secret is inside the value of another option if the & between the two was mistyped.
    return bool(_SECRET.fullmatch(name) or _SECRET_INSIDE.search(value))


def _unknown(scheme: str, name: str, known: list[str], *, hide: bool) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    has = f"it has {', '.join(known)}" if known else "it has none"
    if hide and not near:
        # It may be the rest of a secret in which an & was not written %26.
        return f"{scheme}:// has no such option ({has}); an & in a token must be written %26"
    return f"{scheme}:// has no option {name!r} ({has}){hint}"


def _complaint(url: str) -> str:
    # The text is not repeated: it may hold a password in an unexpected place.
    if not url:
        return "it is empty"
    if "://" not in url:
        return "it has no ://"
    if "#" in url:
        return "a # in it must be written %23"
    if url.count("@") > 1:
        return "an @ in the user or password must be written %40"
    if re.search(r"[/?].*@", url.partition("://")[2]):
        return "a / ? or @ in the user or password must be written %2F %3F %40, an @ elsewhere, too"
    return "the scheme or the address before the path is not well formed"
