"""The command `leadership bench`: it opens the stores, measures, and writes the results."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from leadership_core import ConfigurationError, LeadershipError, StoreURL, open_store
from leadership_core.cli.opening import call_with_timeout, check_shared, choose_ttl

from .children import Children
from .contenders import Contender, contenders_of
from .environment import describe, load
from .measure import FIGURES, expected_steps, measure_all
from .progress import Progress
from .report import write_report
from .results import Results
from .run import Effort, Run
from .servers import Target, version_of_server
from .tables import text_of

__all__ = ["Options", "run"]

_TTLS = (3.0, 6.0, 10.0, 20.0)  # the first that the store accepts
_HINT = (
    "No URL was given, so this measured the embedded store in a temporary file. To measure servers, name"
    " them: leadership bench etcd://127.0.0.1:2379 consul://127.0.0.1:8500 zk://127.0.0.1:2181"
)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command.

    Attributes:
        urls: of the stores; none for the embedded one.
        only: the figures to measure; none for all.
        quick: whether less is measured.
        json: the file for the JSON document, "-" for stdout; empty for none.
        report: the Markdown file to write; empty for none.
        go_player: the built program of `leadership_bench/go`.
        timeout: seconds for the first answer of a store.
    """

    urls: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    quick: bool = False
    json: str = ""
    report: str = ""
    go_player: str = ""
    timeout: float = 5.0


def run(options: Options) -> int:
    """Run the command, and return its exit code.

    Raises:
        ConfigurationError: an option or a URL is wrong.
        StoreUnavailable: a store gives no answer.
        KeyboardInterrupt: from Ctrl-C, after the results so far were printed.
    """
    names = _chosen(options.only)
    for file in (options.json, options.report):
        if file not in {"", "-"} and not Path(file).absolute().parent.is_dir():
            raise ConfigurationError(f"there is no folder for the file {file!r:.200}")
    if options.go_player and not os.access(options.go_player, os.X_OK):
        raise ConfigurationError(
            f"--go-player: {options.go_player!r:.200} is not an executable file; name the program"
            " that was built from leadership_bench/go"
        )
    with contextlib.ExitStack() as stack:
        urls = options.urls or (_embedded(stack),)
        targets = _targets(urls, options.timeout)
        results = Results(environment=describe())
        results.environment["loopback"] = all(target.is_local for target in targets)
        contenders: dict[str, list[Contender]] = {}
        for target in targets:
            contenders[target.scheme], report = contenders_of(target, options.go_player)
            results.contenders += report
            results.servers[target.scheme] = target.version
        progress = Progress(expected_steps(names, targets, quick=options.quick))
        children = stack.enter_context(Children())
        effort = Effort.quick() if options.quick else Effort()
        one_run = Run(results, targets, contenders, effort, children, progress)
        try:
            with _clean_up(one_run, options.timeout):
                measure_all(one_run, names)
            results.complete = True
        finally:
            results.environment["load_after"] = round(load(), 2)
            _publish(results, options)
    if not options.urls:
        sys.stderr.write(f"{_HINT}\n")
    return 1 if results.failures else 0


def _chosen(only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in FIGURES:
            raise ConfigurationError(
                f"there is no figure {name!r:.60}; choose from {', '.join(FIGURES)}"
            )
    return [name for name in FIGURES if not only or name in only]


def _embedded(stack: contextlib.ExitStack) -> str:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="leadership-bench-"))
    return f"sqlite:///{quote(str(Path(folder, 'bench.db')))}"


def _targets(urls: Sequence[str], timeout: float) -> list[Target]:
    targets: list[Target] = []
    for text in urls:
        url = StoreURL.parse(text)
        store = open_store(url)
        try:
            check_shared(url)
            ttl = choose_ttl(store, _TTLS, timeout)
        finally:
            store.close(0.5)
        target = Target.of(url, text, ttl)
        target = replace(target, version=version_of_server(target))
        if any(one.scheme == target.scheme for one in targets):
            raise ConfigurationError(f"there are two URLs of {target.scheme}://: one run takes one")
        targets.append(target)
    return targets


@contextlib.contextmanager
def _clean_up(one_run: Run, timeout: float) -> Iterator[None]:
    """Delete what the run has left under its own prefix, whatever happens."""
    try:
        yield
    finally:
        one_run.children.__exit__()
        for target in one_run.targets:
            with contextlib.suppress(LeadershipError), contextlib.ExitStack() as stack:
                store = open_store(target.url)
                stack.callback(store.close, 1.0)
                call_with_timeout(
                    store, max(timeout, 20.0), partial(store.delete_tree, one_run.sandbox)
                )


def _publish(results: Results, options: Options) -> None:
    """Print the tables, and write the files; also of a run that was interrupted."""
    if not (results.series or results.notes):
        return
    document = json.dumps(results.document(), indent=1)
    if options.json == "-":
        sys.stdout.write(f"{document}\n")
    else:
        width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 10_000
        sys.stdout.write(f"{text_of(results, width)}\n")
    sys.stdout.flush()
    if options.json not in {"", "-"}:
        Path(options.json).write_text(f"{document}\n", encoding="utf-8")
    if options.report and results.complete:
        write_report(results, Path(options.report))
