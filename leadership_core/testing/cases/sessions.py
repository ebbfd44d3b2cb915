"""Sessions, and entries that go when theirs goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...clock import now
from ...errors import ConfigurationError, Conflict, SessionLost
from ...session import Session
from ...store import ABSENT, Capability
from ..case import needs
from ..heard import PATIENCE, Heard
from ..lab import Lab
from .expectations import is_equal, is_true, raises, unnamed

__all__ = ["SessionCases"]

_SESSIONS = Capability.SESSIONS


class SessionCases:
    """What a crash of the process takes down with it."""

    def test_a_session_reports_the_ttl_in_force(self, lab: Lab) -> None:
        """A renewal returns it, and it is what was asked for, or what the server grants instead."""
        session = lab.session(ttl=lab.ttl)
        in_force = session.renew()
        is_equal(session.ttl, in_force, "the ttl of the session after a renewal")
        assert 0 < in_force < 10 * lab.ttl, f"asked for {lab.ttl} s, granted {in_force} s"
        assert lab.store.expires_within(in_force) >= in_force, "it may not expire before its ttl"
        assert session.id, "a session has an id"
        assert isinstance(session.id, str), f"a session's id is a str, not {session.id!r}"

    def test_a_ttl_that_is_no_time_is_refused(self, lab: Lab) -> None:
        """Zero, less, and what is no number are refused; such a session would end never or at once."""
        for ttl in (0.0, -1.0, float("nan"), float("inf")):
            raises(ConfigurationError, lambda t=ttl: lab.store.open_session(t), f"a ttl of {ttl}")  # type: ignore[misc]

    def test_a_closed_session_is_lost(self, lab: Lab) -> None:
        """It is not renewed again, and closing it again is harmless."""
        session, other = lab.session(), lab.session()
        session.close()
        raises(SessionLost, session.renew, "renewing a closed session")
        session.close()
        raises(SessionLost, session.renew, "renewing it once more")
        assert other.renew() > 0, "another session goes on"

    @needs(_SESSIONS)
    def test_closing_a_session_takes_its_entries(self, lab: Lab) -> None:
        """All that is bound to it goes before close returns; what is not bound to it stays."""
        top, other = lab.key(), lab.open()
        session, second = lab.session(), lab.session(other)
        bound = [lab.store.put(f"{top}/bound/{n}", b"%d" % n, session=session) for n in range(3)]
        kept = other.put(f"{top}/kept", b"", session=second)
        free = lab.store.put(f"{top}/free", b"")
        is_equal([entry.session for entry in bound], [session.id] * 3, "whose the entries are")
        is_equal(lab.store.list(f"{top}/bound"), bound, "what its own connection sees")
        found = other.list(f"{top}/bound")
        is_equal(unnamed(found), unnamed(bound), "what another connection sees")
        is_equal(len({entry.session for entry in found}), 1, "sessions of the three entries")
        is_equal((kept.session, free.session), (second.id, None), "whose the others are")

        session.close()
        is_equal(other.list(f"{top}/bound"), [], "entries of a closed session")
        is_equal(lab.store.get(f"{top}/bound/1"), None, "one of them")
        is_equal(unnamed(lab.store.list(top)), unnamed([free, kept]), "what is left")
        again = lab.store.put(f"{top}/bound/1", b"again", expect=ABSENT)
        is_equal(lab.store.get(f"{top}/bound/1"), again, "its key, written anew")

    @needs(_SESSIONS)
    def test_nothing_is_bound_to_a_closed_session(self, lab: Lab) -> None:
        """A put with it is refused as a lost session, and writes nothing."""
        key, session = lab.key("a"), lab.session()
        lab.store.put(lab.key("b"), b"", session=session)
        session.close()
        raises(SessionLost, lambda: lab.store.put(key, b"1", session=session), "a put")
        is_equal(lab.store.get(key), None, "what it has written")
        entry = lab.store.put(key, b"1")
        raises(SessionLost, lambda: lab.store.put(key, b"2", session=session), "an overwrite")
        is_equal(lab.store.get(key), entry, "what is there")

    @needs(_SESSIONS)
    def test_a_silent_session_expires_and_a_renewed_one_does_not(self, lab: Lab) -> None:
        """Entries stay for the ttl after the last renewal at least, and are gone in time after it."""
        top = lab.key()
        silent, renewed = lab.session(ttl=lab.ttl), lab.session(ttl=lab.ttl)
        mine = lab.store.put(f"{top}/silent", b"", session=silent)
        kept = lab.store.put(f"{top}/renewed", b"", session=renewed)
        sent = now()
        ttl = silent.renew()
        answered = now()
        with _renewing(renewed):
            expiry = lab.store.expires_within(ttl)
            gone = lab.eventually(
                lambda: lab.store.get(f"{top}/silent") is None, expiry + PATIENCE / 2
            )
            when = now()
            assert gone, f"{mine} is still there {when - answered:.1f} s after the last renewal"
            assert when - sent >= ttl, (
                f"it was gone {when - sent:.2f} s after a renewal for {ttl:g} s"
            )
            is_equal(lab.store.get(f"{top}/renewed"), kept, "the entry of the renewed one")
        raises(SessionLost, silent.renew, "renewing an expired session")
        dead = f"{top}/dead"
        raises(SessionLost, lambda: lab.store.put(dead, b"", session=silent), "a put with it")
        is_equal(lab.store.get(dead), None, "what that has written")
        silent.close()
        silent.close()
        assert renewed.renew() > 0, "the renewed session is alive"

    @needs(_SESSIONS)
    def test_reads_alone_end_an_expired_session(self, lab: Lab) -> None:
        """Its entries go although no request but reads is made: no renewal or write clears up first."""
        top, reader = lab.key(), lab.open()
        reads: dict[str, Callable[[str], object]] = {
            "get": reader.get,
            "list": lambda key: reader.list(key.rpartition("/")[0]),
        }
        for number, (name, read) in enumerate(reads.items()):
            session, key = lab.session(ttl=lab.ttl), f"{top}/{number}/a"
            lab.store.put(key, b"", session=session)
            gone = lab.eventually(lambda k=key, r=read: not r(k), lab.expiry)  # type: ignore[misc]
            assert gone, f"{name} still returns the entry {lab.expiry:.1f} s after its last renewal"

    @needs(_SESSIONS)
    def test_an_expiry_that_was_read_is_final(self, lab: Lab) -> None:
        """Once a read has left an entry out, no renewal under way brings it back: a filter would."""
        top, reader, count = lab.key(), lab.open(), 12
        sessions = [lab.session(ttl=lab.ttl) for _ in range(count)]
        for number, session in enumerate(sessions):
            lab.store.put(f"{top}/{number:02}", b"", session=session)
        # Renewals that arrive from a little before the expiry to a little after it.
        step, begun = lab.ttl / 50, now()
        over, problems = threading.Event(), list[Exception]()

        def renew(session: Session, at: float) -> None:
            over.wait(max(0.0, at - now()))
            try:
                session.renew()
            except SessionLost:
                pass
            except Exception as error:  # noqa: BLE001 - raised in the thread of the case
                problems.append(error)

        expected = begun + lab.store.expires_within(lab.ttl)
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
    def test_a_watch_tells_the_end_of_a_session(self, lab: Lab) -> None:
        """Closed or expired: those who watch the entry, or the tree that it is in, are told."""
        top, other, key, tree = lab.key(), lab.open(), Heard(), Heard()
        lab.at_end(lab.store.watch(f"{top}/a/b", key).close)
        lab.at_end(lab.store.watch(f"{top}/a", tree, tree=True).close)
        for ends in ("closed", "expired"):
            session = lab.session(other, ttl=lab.ttl)
            entry = other.put(f"{top}/a/b", ends.encode(), session=session)
            assert key.last(lambda it, e=entry: unnamed(it) == unnamed(e)), f"the key: {key}"  # type: ignore[misc]
            assert tree.last(lambda it, e=entry: unnamed(it) == unnamed([e])), f"the tree: {tree}"  # type: ignore[misc]
            if ends == "closed":
                session.close()
            assert key.last_is(None, lab.expiry), f"{ends}: the watch of the key: {key}"
            assert tree.last_is([], lab.expiry), f"{ends}: the watch of the tree: {tree}"

    @needs(_SESSIONS)
    def test_an_entry_follows_its_last_writer(self, lab: Lab) -> None:
        """Written without a session it is free of it; written with another it is that one's."""
        freed, taken, bound = lab.key("freed"), lab.key("taken"), lab.key("bound")
        first, second = lab.session(), lab.session()
        lab.store.put(freed, b"1", session=first)
        is_equal(lab.store.put(freed, b"2").session, None, "the session after a put without")
        lab.store.put(taken, b"1", session=first)
        is_equal(lab.store.put(taken, b"2", session=second).session, second.id, "the new session")
        plain = lab.store.put(bound, b"1")
        is_equal(lab.store.put(bound, b"2", session=first, expect=plain).session, first.id, "bound")

        first.close()
        assert lab.store.get(freed) is not None, "an entry went that had been freed of its session"
        assert lab.store.get(taken) is not None, "an entry went that another session had taken"
        is_equal(lab.store.get(bound), None, "an entry that was bound later")
        second.close()
        is_equal(lab.store.get(taken), None, "an entry of the session that had taken it")

    @needs(_SESSIONS)
    def test_an_entry_of_a_session_is_compared_like_others(self, lab: Lab) -> None:
        """Compare-and-set knows it: created once, changed and deleted by whoever read it last."""
        key, other = lab.key("a"), lab.open()
        one, two = lab.session(), lab.session(other)
        first = lab.store.put(key, b"1", expect=ABSENT, session=one)
        raises(Conflict, lambda: other.put(key, b"2", expect=ABSENT, session=two), "creating it")
        second = lab.store.put(key, b"2", expect=first, session=one)
        raises(Conflict, lambda: other.delete(key, expect=first), "deleting what it was")
        is_true(other.delete(key, expect=second), "deleting what it is")
        third = other.put(key, b"3", expect=ABSENT, session=two)
        one.close()
        is_equal(other.get(key), third, "the next one's entry, when the first one closes")

    @needs(_SESSIONS)
    def test_two_programs_do_not_share_a_session(self, lab: Lab) -> None:
        """Sessions of one connection, or of two, end one by one."""
        top = lab.key()
        sessions = [lab.session(lab.store if n % 2 else lab.open()) for n in range(4)]
        ids = {session.id for session in sessions}
        is_equal(len(ids), 4, f"different ids among {ids}")
        keys = [f"{top}/{number}" for number in range(4)]
        for key, session in zip(keys, sessions, strict=True):
            lab.store.put(key, b"", session=session)
        for number, session in enumerate(sessions):
            session.close()
            is_equal([one.key for one in lab.store.list(top)], keys[number + 1 :], "what is left")


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
        except Exception as error:  # noqa: BLE001 - told in the thread of the case
            self._errors.append(error)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._errors:
            raise AssertionError(f"a renewal in time failed: {self._errors[0]!r}")
