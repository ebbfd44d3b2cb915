"""Cases of sessions, and of the entries bound to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from ...backend.clock import now
from ...backend.entries import ABSENT
from ...backend.protocols import Capability, Session
from ...errors import ConfigurationError, Conflict, SessionLost
from ..case import needs
from ..recorders import DEFAULT_WAIT, WatchRecorder
from ..sandbox import Sandbox
from .assertions import is_equal, is_true, raises, unnamed

__all__ = ["SessionCases"]

_SESSIONS = Capability.SESSIONS


class SessionCases:
    """Sessions that end by a close or by expiry."""

    def test_session_reports_its_granted_ttl(self, sandbox: Sandbox) -> None:
        """A renewal returns the ttl that is in force: the requested one, or what the server grants."""
        session = sandbox.session(ttl=sandbox.ttl)
        in_force = session.renew()
        is_equal(session.ttl, in_force, "the ttl of the session after a renewal")
        assert 0 < in_force < 10 * sandbox.ttl, f"asked for {sandbox.ttl} s, granted {in_force} s"
        assert sandbox.store.expires_within(in_force) >= in_force, (
            "it may not expire before its ttl"
        )
        assert session.id, "a session has an id"
        assert isinstance(session.id, str), f"a session's id must be a str, not {session.id!r}"

    def test_open_session_rejects_an_invalid_ttl(self, sandbox: Sandbox) -> None:
        """Zero, negative numbers, and values that are no finite number are refused."""
        for ttl in (0.0, -1.0, float("nan"), float("inf")):
            opens = partial(sandbox.store.open_session, ttl)
            raises(ConfigurationError, opens, f"a ttl of {ttl}")

    def test_closed_session_cannot_be_renewed(self, sandbox: Sandbox) -> None:
        """A renewal raises SessionLost, and closing it again is harmless."""
        session, other = sandbox.session(), sandbox.session()
        session.close()
        raises(SessionLost, session.renew, "renewing a closed session")
        session.close()
        raises(SessionLost, session.renew, "renewing it once more")
        assert other.renew() > 0, "another session goes on"

    @needs(_SESSIONS)
    def test_closing_a_session_deletes_its_entries(self, sandbox: Sandbox) -> None:
        """All bound entries are gone when close returns; all others stay."""
        top, other = sandbox.key(), sandbox.open()
        session, second = sandbox.session(), sandbox.session(other)
        bound = [
            sandbox.store.put(f"{top}/bound/{n}", b"%d" % n, session=session) for n in range(3)
        ]
        kept = other.put(f"{top}/kept", b"", session=second)
        free = sandbox.store.put(f"{top}/free", b"")
        is_equal([entry.session for entry in bound], [session.id] * 3, "whose the entries are")
        is_equal(sandbox.store.list(f"{top}/bound"), bound, "what its own connection sees")
        found = other.list(f"{top}/bound")
        is_equal(unnamed(found), unnamed(bound), "what another connection sees")
        is_equal(len({entry.session for entry in found}), 1, "sessions of the three entries")
        is_equal((kept.session, free.session), (second.id, None), "whose the others are")

        session.close()
        is_equal(other.list(f"{top}/bound"), [], "entries of a closed session")
        is_equal(sandbox.store.get(f"{top}/bound/1"), None, "one of them")
        is_equal(unnamed(sandbox.store.list(top)), unnamed([free, kept]), "what is left")
        again = sandbox.store.put(f"{top}/bound/1", b"again", expect=ABSENT)
        is_equal(sandbox.store.get(f"{top}/bound/1"), again, "its key, written again")

    @needs(_SESSIONS)
    def test_put_with_a_closed_session_raises_session_lost(self, sandbox: Sandbox) -> None:
        """It writes nothing."""
        key, session = sandbox.key("a"), sandbox.session()
        sandbox.store.put(sandbox.key("b"), b"", session=session)
        session.close()
        raises(SessionLost, lambda: sandbox.store.put(key, b"1", session=session), "a put")
        is_equal(sandbox.store.get(key), None, "what it has written")
        entry = sandbox.store.put(key, b"1")
        raises(SessionLost, lambda: sandbox.store.put(key, b"2", session=session), "an overwrite")
        is_equal(sandbox.store.get(key), entry, "what is there")

    @needs(_SESSIONS)
    def test_session_expires_without_renewal(self, sandbox: Sandbox) -> None:
        """Entries stay for at least the ttl after the last renewal, and are gone soon after it."""
        top = sandbox.key()
        silent, renewed = sandbox.session(ttl=sandbox.ttl), sandbox.session(ttl=sandbox.ttl)
        mine = sandbox.store.put(f"{top}/silent", b"", session=silent)
        kept = sandbox.store.put(f"{top}/renewed", b"", session=renewed)
        sent = now()
        ttl = silent.renew()
        answered = now()
        with _renewing(renewed):
            expiry = sandbox.store.expires_within(ttl)
            gone = sandbox.eventually(
                lambda: sandbox.store.get(f"{top}/silent") is None, expiry + DEFAULT_WAIT / 2
            )
            when = now()
            assert gone, f"{mine} is still there {when - answered:.1f} s after the last renewal"
            assert when - sent >= ttl, (
                f"it was gone {when - sent:.2f} s after a renewal for {ttl:g} s"
            )
            is_equal(sandbox.store.get(f"{top}/renewed"), kept, "the entry of the renewed one")
        raises(SessionLost, silent.renew, "renewing an expired session")
        dead = f"{top}/dead"
        raises(SessionLost, lambda: sandbox.store.put(dead, b"", session=silent), "a put with it")
        is_equal(sandbox.store.get(dead), None, "what that has written")
        silent.close()
        silent.close()
        assert renewed.renew() > 0, "the renewed session is alive"

    @needs(_SESSIONS)
    def test_expired_session_is_not_read(self, sandbox: Sandbox) -> None:
        """Its entries disappear from reads although no renewal and no write clears them up."""
        top, reader = sandbox.key(), sandbox.open()
        reads: dict[str, Callable[[str], object]] = {
            "get": reader.get,
            "list": lambda key: reader.list(key.rpartition("/")[0]),
        }
        for number, (name, read) in enumerate(reads.items()):
            session, key = sandbox.session(ttl=sandbox.ttl), f"{top}/{number}/a"
            sandbox.store.put(key, b"", session=session)
            gone = sandbox.eventually(lambda k=key, r=read: not r(k), sandbox.expiry)  # type: ignore[misc]  # mypy infers no lambda with defaults
            assert gone, (
                f"{name} still returns the entry {sandbox.expiry:.1f} s after its last renewal"
            )

    @needs(_SESSIONS)
    def test_expired_session_cannot_be_renewed_after_a_read(self, sandbox: Sandbox) -> None:
        """Once a read has left an entry out, no renewal under way brings it back."""
        top, reader, count = sandbox.key(), sandbox.open(), 12
        sessions = [sandbox.session(ttl=sandbox.ttl) for _ in range(count)]
        for number, session in enumerate(sessions):
            sandbox.store.put(f"{top}/{number:02}", b"", session=session)
        # Renewals that arrive from a little before the expiry to a little after it.
        step, begun = sandbox.ttl / 50, now()
        over, problems = threading.Event(), list[Exception]()

        def renew(session: Session, at: float) -> None:
            over.wait(max(0.0, at - now()))
            try:
                session.renew()
            except SessionLost:
                pass
            except Exception as error:  # noqa: BLE001 - raised in the thread of the case
                problems.append(error)

        expected = begun + sandbox.store.expires_within(sandbox.ttl)
        threads = [
            threading.Thread(
                target=renew, args=[session, expected + (n - count / 2) * step], daemon=True
            )
            for n, session in enumerate(sessions)
        ]
        for thread in threads:
            thread.start()
        gone: set[str] = set()
        while any(thread.is_alive() for thread in threads):
            there = {entry.key for entry in reader.list(top)}
            back = gone & there
            if back:
                over.set()
            assert not back, f"read as expired, and there again after a renewal: {sorted(back)}"
            gone |= {f"{top}/{number:02}" for number in range(count)} - there
            time.sleep(0.002)
        if problems:
            raise problems[0]

    @needs(_SESSIONS)
    def test_watch_reports_the_end_of_a_session(self, sandbox: Sandbox) -> None:
        """Watches of the entry and of the tree report that a session was closed or has expired."""
        top, other, key, tree = sandbox.key(), sandbox.open(), WatchRecorder(), WatchRecorder()
        sandbox.at_end(sandbox.store.watch(f"{top}/a/b", key).close)
        sandbox.at_end(sandbox.store.watch(f"{top}/a", tree, tree=True).close)
        for ends in ("closed", "expired"):
            session = sandbox.session(other, ttl=sandbox.ttl)
            entry = other.put(f"{top}/a/b", ends.encode(), session=session)
            assert key.last(lambda it, e=entry: unnamed(it) == unnamed(e)), f"the key: {key}"  # type: ignore[misc]  # mypy infers no lambda with defaults
            assert tree.last(lambda it, e=entry: unnamed(it) == unnamed([e])), f"the tree: {tree}"  # type: ignore[misc]  # mypy infers no lambda with defaults
            if ends == "closed":
                session.close()
            assert key.last_is(None, sandbox.expiry), f"{ends}: the watch of the key: {key}"
            assert tree.last_is([], sandbox.expiry), f"{ends}: the watch of the tree: {tree}"

    @needs(_SESSIONS)
    def test_entry_is_bound_to_the_session_of_its_last_writer(self, sandbox: Sandbox) -> None:
        """Written without a session it becomes unbound; written with another one it is bound to that."""
        freed, taken, bound = sandbox.key("freed"), sandbox.key("taken"), sandbox.key("bound")
        first, second = sandbox.session(), sandbox.session()
        sandbox.store.put(freed, b"1", session=first)
        is_equal(sandbox.store.put(freed, b"2").session, None, "the session after a put without")
        sandbox.store.put(taken, b"1", session=first)
        is_equal(
            sandbox.store.put(taken, b"2", session=second).session, second.id, "the new session"
        )
        plain = sandbox.store.put(bound, b"1")
        is_equal(
            sandbox.store.put(bound, b"2", session=first, expect=plain).session, first.id, "bound"
        )

        first.close()
        assert sandbox.store.get(freed) is not None, (
            "an entry went that had been freed of its session"
        )
        assert sandbox.store.get(taken) is not None, "an entry went that another session had taken"
        is_equal(sandbox.store.get(bound), None, "an entry that was bound later")
        second.close()
        is_equal(sandbox.store.get(taken), None, "an entry of the session that had taken it")

    @needs(_SESSIONS)
    def test_compare_and_set_works_for_bound_entries(self, sandbox: Sandbox) -> None:
        """A bound entry can be created once, and changed and deleted as the expected entry."""
        key, other = sandbox.key("a"), sandbox.open()
        one, two = sandbox.session(), sandbox.session(other)
        first = sandbox.store.put(key, b"1", expect=ABSENT, session=one)
        raises(Conflict, lambda: other.put(key, b"2", expect=ABSENT, session=two), "creating it")
        second = sandbox.store.put(key, b"2", expect=first, session=one)
        raises(Conflict, lambda: other.delete(key, expect=first), "deleting what it was")
        is_true(other.delete(key, expect=second), "deleting what it is")
        third = other.put(key, b"3", expect=ABSENT, session=two)
        one.close()
        is_equal(
            other.get(key), third, "the entry of the next session, after the first one was closed"
        )

    @needs(_SESSIONS)
    def test_sessions_end_independently(self, sandbox: Sandbox) -> None:
        """Sessions of one connection, or of two, end one by one."""
        top = sandbox.key()
        sessions = [sandbox.session(sandbox.store if n % 2 else sandbox.open()) for n in range(4)]
        ids = {session.id for session in sessions}
        is_equal(len(ids), 4, f"different ids among {ids}")
        keys = [f"{top}/{number}" for number in range(4)]
        for key, session in zip(keys, sessions, strict=True):
            sandbox.store.put(key, b"", session=session)
        for number, session in enumerate(sessions):
            session.close()
            is_equal(
                [one.key for one in sandbox.store.list(top)], keys[number + 1 :], "what is left"
            )


class _renewing:  # noqa: N801 - reads as a statement
    """Renews a session, again and again, while entered."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._over = threading.Event()
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name="contract-renewal", daemon=True)

    def _run(self) -> None:
        try:
            while not self._over.wait(self._session.ttl / 5):
                self._session.renew()
        except Exception as error:  # noqa: BLE001 - raised in the thread of the case
            self._errors.append(error)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._errors:
            raise AssertionError(f"a renewal in time failed: {self._errors[0]!r}")
