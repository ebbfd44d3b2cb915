"""The ACLs of `docs/operations.md`: all of their rights are enough, and each one is needed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl

from leadership_core import LeadershipError, StoreRefused, open_store
from tests.integration.zookeeper.tools import kazoo
from tests.support.permissions import USES, Rights, check, try_all
from tests.support.servers.zookeeper import ZooKeeper, digest

RIGHTS = Rights.of("ZooKeeper")
ALL_KEYS = "lists and watches of all keys (the empty prefix)"
ADMIN = make_digest_acl("admin", "s3cret", all=True)
_NUMBERS = itertools.count(1)
_NAMES = {"c": "create", "d": "delete", "r": "read", "w": "write", "a": "admin"}


@pytest.fixture
def admin(shared_zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    with kazoo(shared_zookeeper.port, auth_data=[("digest", "admin:s3cret")]) as client:
        yield client


def letters(use: str) -> str:
    """The rights of the page for a use, as `zkCli.sh` takes them."""
    (line,) = RIGHTS.lines[use]
    found = re.fullmatch(r'create /worker "" digest:worker:HASH:([cdrwa]+)', line)
    assert found, line
    return found[1]


def url_with(server: ZooKeeper, admin: KazooClient, rights: str) -> str:
    """The URL of a new node at which the user `worker` has these rights."""
    path = f"/worker{next(_NUMBERS)}"
    mine = make_acl("digest", digest("worker", "pw"), **{_NAMES[one]: True for one in rights})
    admin.create(path, acl=[ADMIN, mine] if rights else [ADMIN])
    return server.url_at(server.port, chroot=path, user="worker", password="pw")


def said(row: str, error: str) -> bool:
    """Whether an error has one of the texts of the page, for the node of this test."""
    return any(text in re.sub(r"\bworker\d+", "worker", error) for text in RIGHTS.messages(row))


@pytest.mark.parametrize("use", sorted(USES.keys() - {"follower"}))
def test_listed_rights_are_enough_and_needed(
    use: str, shared_zookeeper: ZooKeeper, admin: KazooClient
) -> None:
    """With each missing one the program gets the error of the page."""
    rights = letters(use)
    urls = {
        missing: url_with(shared_zookeeper, admin, rights.replace(missing, ""))
        for missing in rights
    }

    # A key of one part is the child of the node that the URL names.
    errors = try_all(
        use, url_with(shared_zookeeper, admin, rights), urls, shared_zookeeper.url, keys=""
    )

    for missing, error in errors.items():
        assert said(f"`{missing}`", error), (missing, error)


def test_empty_prefix_needs_read(shared_zookeeper: ZooKeeper, admin: KazooClient) -> None:
    """The keys directly below the node of the URL are its children."""
    rights = letters(ALL_KEYS)
    assert "r" in rights
    with open_store(url_with(shared_zookeeper, admin, rights)) as store:
        store.put("x", b"1")
        assert [entry.key for entry in store.list("")] == ["x"]
    with open_store(url_with(shared_zookeeper, admin, rights.replace("r", ""))) as store:
        store.put("x", b"1")
        with pytest.raises(LeadershipError) as caught:
            store.list("")
    assert said("`r`", str(caught.value))


def test_follower_needs_the_user_of_the_candidates(
    shared_zookeeper: ZooKeeper, admin: KazooClient
) -> None:
    """Claims belong to the user that made them; the rights on the folder above do not matter."""
    url = url_with(shared_zookeeper, admin, letters("candidate"))
    USES["follower"](url, url, 5.0)

    with pytest.raises(StoreRefused) as caught:
        USES["follower"](url.replace("worker:pw@", "other:pw@"), url, 5.0)

    for text in ("cannot watch the leader of", "ZooKeeper denies permission"):
        assert text in str(caught.value)
        assert f"`{text}`" in RIGHTS.text


def test_check_needs_the_listed_rights(shared_zookeeper: ZooKeeper, admin: KazooClient) -> None:
    """It passes with them, and leaves nothing behind; without `c` it stops at the first contact."""
    rights = letters("leadership check")
    url = url_with(shared_zookeeper, admin, rights)

    done = check(url)
    refused = check(url_with(shared_zookeeper, admin, rights.replace("c", "")))

    assert (done.returncode, done.stderr) == (0, ""), done
    (path,) = re.findall(r"/worker\d+", url)
    assert admin.get_children(path) == []
    assert refused.returncode == 4
    assert said("`c`", refused.stderr)
