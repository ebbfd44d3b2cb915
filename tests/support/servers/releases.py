"""The server releases that the library is tested with.

The newest of each kind is what tests run on that ask for a kind, such as "etcd". The contract, the
elections and some faults run on each of the others, too, by its name, such as "etcd-3.4.23".

    python -m tests.support.servers.releases     what $LEADERSHIP_TEST_RELEASES has to be, run by run, so
                                         that all tests have run on all of them
"""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass

from tests.support.servers.apt import ProvisionError
from tests.support.servers.sources import Debian, GoModules, Maven, Source

__all__ = [
    "KINDS",
    "MISSING",
    "RELEASES",
    "Release",
    "default",
    "kind_of",
    "named",
    "newest",
    "on_path",
    "others",
    "versions_of",
]

KINDS = ("consul", "etcd", "zookeeper", "postgres")
"""The kinds of servers that have a backend here."""


@dataclass(frozen=True)
class Release:
    """One row of the table: a server of a certain version, and its source."""

    kind: str
    version: str
    source: Source

    @property
    def name(self) -> str:
        """The name of the row in tests and in the cache."""
        return f"{self.kind}-{self.version}"


def _etcd_of_debian(suite: str) -> Debian:
    wanted = {"etcd": "usr/bin/etcd", "etcdctl": "usr/bin/etcdctl"}
    return Debian(suite, ("etcd-server", "etcd-client"), wanted)


def _etcd_of_modules(version: str) -> GoModules:
    programs = {"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3"}
    return GoModules(dict.fromkeys(programs.values(), version), programs)


def _zookeeper_of_debian(suite: str) -> Debian:
    packages = (
        "libzookeeper-java",
        "libslf4j-java",
        "libdropwizard-metrics-java",
        "libsnappy-java",
        "libnetty-java",
        "libcommons-io-java",
    )
    return Debian(suite, packages, {"jars": "usr/share/java"})


def _postgres_of_debian(suite: str, line: int, *, loader: bool = False) -> Debian:
    packages: tuple[str, ...] = (f"postgresql-{line}", f"postgresql-client-{line}", "libpq5")
    wanted = {
        "postgres": f"usr/lib/postgresql/{line}/bin/postgres",
        "libraries": "usr/lib/*-linux-gnu",
    }
    if not loader:
        # With the libraries that a Debian without PostgreSQL may not have.
        return Debian(
            suite, packages, wanted, r"lib(?:icu|ldap|xml2|xslt|sasl2|numa|uring)[\w.+-]*"
        )
    # With all libraries and the loader of its own suite, whose C library may be newer than ours.
    wanted["loader"] = "usr/lib/*-linux-gnu/ld-linux-*.so.*"
    all_but = r"lib(?!c-|llvm|z3|perl|ipc|json|common|gdbm)[\w.+-]+"
    return Debian(suite, (*packages, "libc6"), wanted, all_but)


_CONSUL = "github.com/hashicorp/consul"

# Older ones first. The suites are closed but for bookworm and trixie, which have had their last
# versions of these packages for long; all of it runs on glibc 2.34 and later.
_ALL = (
    Release("consul", "1.8.7", Debian("bullseye", ("consul",), {"consul": "usr/bin/consul"})),
    # The last line under a free licence that can be built from modules.
    Release("consul", "1.14.11", GoModules({_CONSUL: "v1.14.11"}, {"consul": _CONSUL})),
    Release("etcd", "3.4.23", _etcd_of_debian("bookworm")),
    Release("etcd", "3.5.16", _etcd_of_debian("trixie")),
    Release("etcd", "3.6.16", _etcd_of_modules("v3.6.16")),
    Release("etcd", "3.7.3", _etcd_of_modules("v3.7.3")),
    Release("postgres", "15", _postgres_of_debian("bookworm", 15)),
    Release("postgres", "17", _postgres_of_debian("trixie", 17, loader=True)),
    Release("zookeeper", "3.8.0", _zookeeper_of_debian("bookworm")),
    Release("zookeeper", "3.9.3", _zookeeper_of_debian("trixie")),
    Release(
        "zookeeper",
        "3.9.5",
        Maven(
            (
                "org.apache.zookeeper:zookeeper:3.9.5",
                "io.dropwizard.metrics:metrics-core:4.1.12.1",
                "org.xerial.snappy:snappy-java:1.1.10.5",
                "org.slf4j:slf4j-simple:2.0.13",
            ),
            # Another log, and what TLS does not need.
            ("ch.qos.logback:*", "io.netty:netty-tcnative-boringssl-static"),
        ),
    ),
)

MISSING = {
    row.name: "there is no Maven (the command mvn) here"
    for row in _ALL
    if isinstance(row.source, Maven) and not row.source.is_available(row.name)
}
"""The rows that this machine goes without, and why; the next older one is the newest then."""

RELEASES = tuple(row for row in _ALL if row.name not in MISSING)
"""All other rows. One that cannot be got fails the run."""


def named(name: str) -> Release:
    """The row with that name."""
    return next(row for row in RELEASES if row.name == name)


def kind_of(name: str) -> str:
    """The kind of server of a row's name or of a kind."""
    return name.partition("-")[0]


def newest(kind: str) -> Release:
    """The newest row of a kind."""
    return [row for row in RELEASES if row.kind == kind][-1]


def default(kind: str) -> Release | None:
    """The row that tests of a kind use; None for a server of the machine (`on_path`).

    $LEADERSHIP_TEST_RELEASES may name another row, such as ``etcd=3.4.23,consul=1.8.7``.

    Raises:
        ProvisionError: it names a row that is not in the table.
    """
    chosen = dict(
        one.strip().partition("=")[::2]
        for one in os.environ.get("LEADERSHIP_TEST_RELEASES", "").split(",")
        if one.strip()
    )
    rows = [row for row in RELEASES if row.kind == kind]
    if kind in chosen:
        for row in rows:
            if row.version == chosen[kind]:
                return row
        known = ", ".join(row.version for row in rows)
        raise ProvisionError(
            f"LEADERSHIP_TEST_RELEASES: there is no {kind} {chosen[kind]}; there are {known}"
        )
    return None if on_path(kind) else newest(kind)


def on_path(kind: str) -> dict[str, str]:
    """The server installed on this machine, if any: on PATH, or the jars of $ZOOKEEPER_JARS."""
    if kind == "zookeeper":
        jars = os.environ.get("ZOOKEEPER_JARS")
        return {"jars": jars} if jars else {}
    if kind == "postgres":
        return {}  # its programs are beside each other, and on PATH is a script of Debian's
    commands = {"consul": ("consul",), "etcd": ("etcd", "etcdctl")}[kind]
    found = {name: path for name in commands if (path := shutil.which(name))}
    return found if len(found) == len(commands) else {}


def others(*kinds: str) -> list[str]:
    """The names of the rows of these kinds, or of all, that are not a default."""
    return [
        row.name for row in RELEASES if row.kind in (kinds or KINDS) and row != default(row.kind)
    ]


def versions_of(kind: str) -> str:
    """The versions of all rows of a kind, as the documentation lists them."""
    versions = [row.version for row in _ALL if row.kind == kind]
    return " and ".join(filter(None, [", ".join(versions[:-1]), versions[-1]]))


def main() -> None:
    """Print the further runs that cover all rows."""
    older = [[row for row in RELEASES if row.kind == kind][-2::-1] for kind in KINDS]
    for rows in itertools.zip_longest(*older):
        print(",".join(f"{row.kind}={row.version}" for row in rows if row))


if __name__ == "__main__":
    main()
