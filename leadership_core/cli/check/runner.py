"""Runner of `leadership check`, from the first contact with the store to the verdict."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import partial

from ...backend.deadline import call_timeout
from ...engine.store_base import internals
from ...errors import ConfigurationError, StoreRefused, StoreUnavailable
from ...store import Store
from ...testing import Sandbox, contract_cases
from ..arguments import Arguments
from ..candidate_processes import CandidateProcesses
from ..opening import call_with_timeout, choose_ttl, open_shared_store
from ..signals import deferred
from .cases import run_case
from .contention import Contention
from .report import Report

__all__ = ["run_check"]

log: logging.Logger = logging.getLogger("leadership.check")

_TTLS = (2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)
_FAILED = 1  # exit code


def run_check(arguments: Arguments) -> int:
    """Check the store; returns the exit code."""
    assert arguments.url is not None
    store = open_shared_store(arguments.url)
    report = Report(store.url, as_json=arguments.json)
    try:
        ttls = (arguments.ttl,) if arguments.ttl_is_given else _TTLS
        ttl = choose_ttl(store, ttls, arguments.timeout)
        expiry = store.expires_within(ttl)
        new_sandbox = partial(Sandbox, arguments.url, ttl=ttl)
        with _cleared(new_sandbox()) as sandbox:
            outages, no_proxy_because = sandbox.outages, sandbox.no_proxy_because
            _try_election(sandbox, ttl, arguments.timeout)
        cases = contract_cases(store.capabilities, outages)
        report.begin(
            ttl,
            expiry,
            len(cases),
            chosen=not arguments.ttl_is_given,
            no_outages_because=no_proxy_because,
        )
        outcomes = []
        for case in cases:
            report.case_begins(case)
            outcome = run_case(case, new_sandbox, expiry)
            if outcome.refusal is not None:
                raise outcome.refusal
            if outcome.fault:
                _check_reachable(store, arguments.timeout, case.name)
                outcome = outcome.with_second_try(run_case(case, new_sandbox, expiry))
            report.case_ends(outcome)
            outcomes.append(outcome)
        report.contention_begins(arguments.seconds)
        with _cleared(new_sandbox()) as sandbox:
            key = internals(sandbox.store).namespace.normalise(sandbox.key("leader"))
            with CandidateProcesses(arguments.url_text, key, ttl) as processes:
                progress = report.contention_progress
                result = Contention(processes, progress, expiry, arguments.seconds).run()
                report.clearing_up()
        if result.faults:
            _check_reachable(store, arguments.timeout, "the contended election")
        return 0 if report.verdict(outcomes, result) else _FAILED
    finally:
        store.close(0.5)


def _try_election(sandbox: Sandbox, ttl: float, timeout: float) -> None:
    """Raise the error that makes every election impossible; other errors are left to the cases."""
    store = internals(sandbox.store)
    # Without a candidate, which would log the errors of a broken plugin before a case reports them.
    try:
        with call_timeout(timeout):
            election = store.engine.election(store.namespace.full(sandbox.key("first")))
            session = store.engine.backend.open_session(ttl)
            try:
                election.withdraw(election.enter(session, b"check"))
            finally:
                session.close()
    except (ConfigurationError, StoreRefused):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is its fault
        log.debug("the first election has failed: %r", error)


@contextlib.contextmanager
def _cleared(sandbox: Sandbox) -> Iterator[Sandbox]:
    sandbox.__enter__()
    problem: BaseException | None = None
    try:
        yield sandbox
    except BaseException as error:
        problem = error
        raise
    finally:
        with deferred():
            # With the error, which is to be reported rather than one of clearing up.
            sandbox.__exit__(None if problem is None else type(problem), problem, None)


def _check_reachable(store: Store, timeout: float, place: str) -> None:
    """Raise `StoreUnavailable` if the store is away, so that it does not count as faulty."""
    try:
        call_with_timeout(store, timeout, lambda: store.get("leadership-check"), retry=True)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"the store went away during the check, at {place}: {error}"
        ) from error
