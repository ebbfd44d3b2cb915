"""What sqlite:// refuses to open, and what it says then."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leadership_core import clock
from leadership_core.errors import ConfigurationError, StoreRefused, StoreUnavailable, URLError
from leadership_core.sqlite import SqliteStore, host, leadership_open_store
from leadership_core.sqlite.connection import Connection
from leadership_core.sqlite.location import Location
from leadership_core.sqlite.schema import _TABLES, prepare
from leadership_core.url import StoreURL

ROOT = Path(__file__).parents[2]


def open_sqlite(url: str) -> SqliteStore:
    store = leadership_open_store(StoreURL.parse(url))
    assert store is not None
    return store


def test_an_absolute_path_has_four_slashes(tmp_path: Path) -> None:
    """The file is created with the first use, not when the store is opened."""
    store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
    assert list(tmp_path.iterdir()) == []

    assert store.get("a") is None
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_a_relative_path_means_the_folder_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its folder later keeps its database."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_sqlite("sqlite:///a.db")
    monkeypatch.chdir(tmp_path / "elsewhere")

    store.put("a", b"")
    store.close()
    assert (tmp_path / "a.db").exists()


def test_a_percent_sign_and_a_question_mark_can_be_in_the_name(tmp_path: Path) -> None:
    """The path is percent-decoded, and means nothing more to SQLite."""
    store = open_sqlite(f"sqlite:///{tmp_path}/a%3Fmode=ro%20%25.db")
    store.put("a", b"")
    store.close()

    assert (tmp_path / "a?mode=ro %.db").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite://host/a.db", "no host"),
        ("sqlite://user@/a.db", "no host"),
        ("sqlite://:secret@/a.db", "no host"),
        ("sqlite://", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("sqlite+tls:///a.db", "no TLS"),
        ("sqlite:///a.db?timeout=3", "no option 'timeout'"),
    ],
)
def test_a_url_with_more_than_a_path_is_refused(url: str, why: str) -> None:
    """What would be ignored is an error that says so."""
    with pytest.raises(URLError, match=why):
        open_sqlite(url)


def test_another_scheme_is_left_to_others() -> None:
    """The plugin answers for its own scheme only."""
    assert leadership_open_store(StoreURL.parse("consul://name")) is None


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    """The message says what to write instead."""
    with pytest.raises(ConfigurationError, match=r"is a folder.*leadership\.db"):
        open_sqlite(f"sqlite:///{tmp_path}")


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    """It may be a file system that is not mounted yet."""
    with pytest.raises(ConfigurationError, match="create it first"):
        open_sqlite(f"sqlite:///{tmp_path}/not/there.db")


_AS_NOBODY = """
import os, sys
from leadership_core.errors import ConfigurationError
from leadership_core.sqlite import leadership_open_store
from leadership_core.sqlite.connection import Connection
from leadership_core.sqlite.location import Location
from leadership_core.sqlite.schema import _TABLES, prepare
from leadership_core.url import StoreURL
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    leadership_open_store(StoreURL.parse(sys.argv[1]))
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "why"),
    [(0o555, 0o666, "must be readable and writable"), (0o777, 0o444, "may read and write")],
)
def test_what_may_not_be_written_is_refused(folder_mode: int, file_mode: int, why: str) -> None:
    """SQLite needs the folder, too. Tried without the rights of root, who may do all."""
    folder = Path(tempfile.mkdtemp(prefix="leadership-"))  # pytest's own is closed to others
    file = folder / "a.db"
    try:
        file.touch()
        file.chmod(file_mode)
        folder.chmod(folder_mode)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, f"sqlite:///{file}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)

    assert why in done.stdout


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """A text file is refused when the store is opened, and not changed."""
    file = tmp_path / "notes.txt"
    file.write_text("buy milk\n" * 200)

    with pytest.raises(ConfigurationError, match=r"notes\.txt cannot be used as a database"):
        open_sqlite(f"sqlite:///{file}")
    assert file.read_text() == "buy milk\n" * 200


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Its content, its journal mode and its folder stay as they were."""
    file = tmp_path / "app.db"
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE customers (name TEXT)")
    db.commit()
    db.close()
    before = file.read_bytes()

    with pytest.raises(ConfigurationError, match="database of something else"):
        open_sqlite(f"sqlite:///{file}")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    """Two formats cannot run one election."""
    file = tmp_path / "a.db"
    store = open_sqlite(f"sqlite:///{file}")
    store.put("a", b"")
    store.close()
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(ConfigurationError, match="format 99"):
        open_sqlite(f"sqlite:///{file}")


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """`touch a.db`, or a temporary file, is as good as none."""
    file = tmp_path / "a.db"
    file.touch()
    store = open_sqlite(f"sqlite:///{file}")

    entry = store.put("a", b"")
    assert store.get("a") == entry
    store.close()


def test_a_database_that_another_process_creates_meanwhile(tmp_path: Path) -> None:
    """Whoever finds it empty, and has to wait for the lock, looks again before creating it."""
    file = tmp_path / "a.db"
    first, second = Connection(file), Connection(file)
    first.rows("PRAGMA journal_mode = WAL")
    first.change("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare, second, str(file), clock.now() + 3)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        for statement in _TABLES:
            first.change(statement)
        first.change("COMMIT")
        waiting.result(3)

    assert second.value("SELECT revision FROM counter") == 0
    first.close()
    second.close()


def test_a_database_that_becomes_something_else_is_refused_later(tmp_path: Path) -> None:
    """What the constructor would have refused is a store that does not work from then on."""
    file = tmp_path / "a.db"
    store = open_sqlite(f"sqlite:///{file}")
    file.write_text("buy milk\n" * 200)

    with pytest.raises(StoreRefused):
        store.get("a")
    file.unlink()
    assert store.get("a") is None
    store.close()


# -- the machine ------------------------------------------------------------------------------

_MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw,relatime shared:5 master:2 - nfs4 server:/export rw,vers=4.2
31 22 0:41 / /mnt/with\\040space rw - cifs //server/share rw
32 22 0:42 / /home/me/remote rw,nosuid - fuse.sshfs me@host:/ rw,user_id=1000
33 30 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
34 22 0:43 / /srv rw - nfs server:/srv rw
35 22 8:3 / /srv rw - btrfs /dev/sdc1 rw
36 22 0:44 / /vm rw - virtiofs vm rw
37 22 0:45 / /tmp rw - tmpfs tmpfs rw
38 22 0:46 / /wsl rw - 9p drvfs rw
39 22 0:47 / /merged rw - overlay overlay rw,lowerdir=/a,upperdir=/b
40 22 0:48 / /cluster rw - ceph 10.0.0.1:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "type_", "shared"),
    [
        ("/", "ext4", False),
        ("/mnt", "ext4", False),
        ("/mnt/sharex", "ext4", False),
        ("/mnt/share", "nfs4", True),
        ("/mnt/share/deep/er", "nfs4", True),
        ("/mnt/share/local/x", "xfs", False),
        ("/mnt/with space/x", "cifs", True),
        ("/home/me/remote", "fuse.sshfs", True),
        ("/srv/x", "btrfs", False),
        ("/vm", "virtiofs", False),
        ("/tmp/x", "tmpfs", False),
        ("/wsl", "9p", False),
        ("/merged", "overlay", False),
        ("/cluster/a", "ceph", True),
    ],
)
def test_the_mount_that_holds_the_folder_decides(
    folder: str, type_: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest mount point, the last of several in one place; escapes are undone."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS)
    monkeypatch.setattr(host, "_MOUNTS", mounts)

    assert host.file_system(Path(folder), _MOUNTS) == type_
    if shared:
        with pytest.raises(ConfigurationError, match=f"{type_}, a file system that machines"):
            host.refuse_network(Path(folder))
    else:
        host.refuse_network(Path(folder))


def _octal(path: Path) -> str:
    """As the kernel shows it: a space in TMPDIR would end the field."""
    return str(path.resolve()).replace(" ", r"\040")


def test_a_network_file_system_is_refused_when_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a symbolic link, too: what counts is where the file is."""
    mounts, share = tmp_path / "mountinfo", tmp_path / "share"
    share.mkdir()
    mounts.write_text(f"22 1 8:1 / / rw - ext4 x rw\n30 22 0:4 / {_octal(share)} rw - nfs s:/ rw\n")
    monkeypatch.setattr(host, "_MOUNTS", mounts)
    (tmp_path / "link.db").symlink_to(share / "a.db")

    with pytest.raises(ConfigurationError, match="nfs"):
        open_sqlite(f"sqlite:///{tmp_path}/link.db")
    open_sqlite(f"sqlite:///{tmp_path}/a.db").close()


def test_a_machine_without_a_boot_id_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a reboot would leave sessions that end at a time of another boot."""
    assert host.boot_id() == host.boot_id() != ""
    monkeypatch.setattr(host, "_BOOT_ID", tmp_path / "nothing")

    with pytest.raises(ConfigurationError, match="boot"):
        open_sqlite(f"sqlite:///{tmp_path}/a.db")


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("monotonic           0         0\nboottime            0         0\n", 0.0),
        ("monotonic          -5         0\nboottime         3600 500000000\n", 3600.5),
        ("monotonic           0         0\nboottime           -2 500000000\n", -1.5),
        ("", 0.0),
    ],
)
def test_the_clock_of_a_time_namespace_is_put_right(
    text: str, offset: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with a boot clock of its own counts with that of the machine."""
    offsets = tmp_path / "timens_offsets"
    offsets.write_text(text)
    monkeypatch.setattr(host, "_TIME_NAMESPACE", offsets)

    assert host.boottime_offset(text) == offset
    plain, ours = clock.now(), host.machine_clock()()
    assert ours + offset == pytest.approx(plain, abs=1.0)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_files_are_for_their_user_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Whoever may read a database may stop all who write it, by a shared lock."""
    before = os.umask(umask)
    try:
        store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
        store.put("a", b"")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_a_file_that_was_made_for_several_users_stays_so(tmp_path: Path) -> None:
    """Its mode is its owner's choice, and the lock file follows it: those who write may lock."""
    path = tmp_path / "a.db"
    path.touch()
    path.chmod(0o664)
    location = Location(str(path))

    with location.locked(clock.now() + 1):
        lock = tmp_path / "a.db-lock"
        assert lock.stat().st_mode & 0o777 == 0o660
        location.create()

    assert path.stat().st_mode & 0o777 == 0o664
    assert not lock.exists()


def test_a_reader_of_the_folder_stops_nobody(tmp_path: Path) -> None:
    """A lock on the folder needs no more than to read it; that of the database is another file."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        store = open_sqlite(f"sqlite:///{tmp_path}/a.db")
        assert store.put("a", b"1").value == b"1"
        store.close()
    finally:
        os.close(folder)


def test_the_lock_file_is_waited_for_and_left_to_no_two(tmp_path: Path) -> None:
    """It is deleted by the one that holds it, and one that waits tries again with the next."""
    location = Location(str(tmp_path / "a.db"))
    inside: list[int] = []

    def enter(number: int) -> None:
        for _ in range(50):
            with Location(str(tmp_path / "a.db")).locked(clock.now() + 30):
                inside.append(number)
                assert inside == [number]
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert list(tmp_path.iterdir()) == []

    with (
        location.locked(clock.now() + 1),
        pytest.raises(StoreUnavailable, match=r"a\.db-lock"),
        Location(str(tmp_path / "a.db")).locked(clock.now() + 0.05),
    ):
        pytest.fail("two hold it")


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """The lock file may be in a folder where others write."""
    (tmp_path / "a.db-lock").symlink_to(tmp_path / "victim")
    with (
        pytest.raises(StoreRefused, match=r"a\.db-lock"),
        Location(str(tmp_path / "a.db")).locked(clock.now() + 0.02),
    ):
        pytest.fail("it was followed")
    assert not (tmp_path / "victim").exists()
