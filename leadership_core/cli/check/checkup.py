"""All of `leadership check`, from the first contact to the verdict."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import partial

from ...budget import budget
from ...errors import ConfigurationError, StoreRefused, StoreUnavailable
from ...handle import StoreHandle
from ...internals import internals
from ...testing import Lab, contract_cases
from ..arguments import Arguments
from ..grants import choose_ttl
from ..interrupts import undisturbed
from ..opening import open_shared_store
from ..patience import within
from ..troupe import Troupe
from .cases import run_case
from .contention import Contended, Contention
from .report import Report

__all__ = ["check_up"]

log = logging.getLogger("leadership.check")

_TTLS = (2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)
_UNSOUND = 1


def check_up(arguments: Arguments) -> int:
    """Check the store; returns the exit code."""
    assert arguments.url is not None
    store = open_shared_store(arguments.url)
    report = Report(store.url, as_json=arguments.json)
    try:
        ttls = (arguments.ttl,) if arguments.ttl_is_given else _TTLS
        ttl = choose_ttl(store, ttls, arguments.timeout)
        expires = store.expires_within(ttl)
        with _cleared(Lab(arguments.url, ttl=ttl)) as lab:
            outages, no_proxy_because = lab.outages, lab.no_proxy_because
            _try_election(lab, ttl, arguments.timeout)
        cases = contract_cases(store.capabilities, outages)
        report.begin(
            ttl,
            expires,
            len(cases),
            chosen=not arguments.ttl_is_given,
            no_outages_because=no_proxy_because,
        )
        outcomes = []
        for case in cases:
            report.case_begins(case)
            new_lab = partial(Lab, arguments.url, ttl=ttl)
            outcome = run_case(case, new_lab, expires)
            if outcome.refusal is not None:
                raise outcome.refusal
            if outcome.fault:
                _check_reachable(store, arguments.timeout, case.name)
                outcome = outcome.tried_again(run_case(case, new_lab, expires))
            report.case_ends(outcome)
            outcomes.append(outcome)
        report.contention_begins(arguments.seconds)
        contended = _contend(arguments, report, ttl, expires)
        if contended.faults:
            _check_reachable(store, arguments.timeout, "the contended election")
        return 0 if report.verdict(outcomes, contended) else _UNSOUND
    finally:
        store.close(0.5)


def _try_election(lab: Lab, ttl: float, timeout: float) -> None:
    """Raise what makes every election impossible; whatever else is wrong is left to the cases."""
    store = internals(lab.store)
    # Not with a candidate, which would log what a broken plugin raises before a case names it.
    try:
        with budget(timeout):
            election = store.engine.election(store.full_key(lab.key("first")))
            session = store.engine.backend.open_session(ttl)
            try:
                election.withdraw(election.enter(session, b"check"))
            finally:
                session.close()
    except (ConfigurationError, StoreRefused):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is its fault
        log.debug("the first election has failed: %r", error)


def _contend(arguments: Arguments, report: Report, ttl: float, expires: float) -> Contended:
    assert arguments.url is not None
    with _cleared(Lab(arguments.url, ttl=ttl)) as lab:
        key = internals(lab.store).normalise(lab.key("leader"))
        with Troupe(arguments.url_text, key, ttl) as troupe:
            return Contention(troupe, report.contended, expires, arguments.seconds).run()


@contextlib.contextmanager
def _cleared(lab: Lab) -> Iterator[Lab]:
    lab.__enter__()
    problem: BaseException | None = None
    try:
        yield lab
    except BaseException as error:
        problem = error
        raise
    finally:
        with undisturbed():
            # With the error, so that it is told, rather than what the store says to clearing.
            lab.__exit__(None if problem is None else type(problem), problem, None)


def _check_reachable(store: StoreHandle, timeout: float, place: str) -> None:
    """Tell a store that went away from one that is wrong."""
    try:
        within(store, timeout, lambda: store.get("leadership-check"), retry=True)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"the store went away during the check, at {place}: {error}"
        ) from error
