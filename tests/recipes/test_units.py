"""The recipes around `leadership run`: a systemd unit, and a Kubernetes Deployment."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import kubernetes_validate
import pytest

from tests.recipes.catalogue import UNIT, manifests
from tests.recipes.conftest import SetUp
from tests.recipes.handover import check_handovers
from tests.recipes.programs import Stage
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_RELEASE_SECONDS = 5.0  # in which `leadership run` gives up a release that is not confirmed

WORKER = """#!/bin/sh
echo "in term $LEADERSHIP_TOKEN"
exec sleep 1000
"""


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, set_up: SetUp, file_url: str, quick_folder: Path
) -> Stage:
    """The recipe that the test names by its parameter, with a worker that reports its term."""
    name = request.param
    made = set_up(name, file_url)
    worker = quick_folder / name / "worker.sh"
    worker.write_text(WORKER)
    worker.chmod(0o755)
    return made


@pytest.mark.parametrize("stage", ["systemd", "kubernetes"], indirect=True)
def test_leader_is_replaced(stage: Stage) -> None:
    """SIGTERM hands over at once, SIGKILL after the ttl; the command is the file's own."""
    check_handovers(stage)


@pytest.mark.parametrize("stage", ["kubernetes"], indirect=True)
def test_probes_are_answered_by_leader_and_standby(stage: Stage) -> None:
    """Both are alive, and both are ready."""
    (container,) = manifests()[0]["spec"]["template"]["spec"]["containers"]
    paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    first, second = stage.start(), stage.start()
    stage.await_leader(15)

    for program in (first, second):
        for path in paths:
            url = f"http://127.0.0.1:{program.port}{path}"

            def answers(url: str = url) -> bool:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return bool(answer.status == 200)

            wait_until(answers, 10, url)


def test_unit_is_valid(tmp_path: Path) -> None:
    """It is one of systemd's where that is installed; its times fit in any case."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says
    unit.read(UNIT)
    service = unit["Service"]
    grace = float(re.findall(r"--grace ([\d.]+)s", service["ExecStart"])[0])
    assert float(service["TimeoutStopSec"]) > grace + _RELEASE_SECONDS
    assert service["SuccessExitStatus"] == "143"
    if shutil.which("systemd-analyze") is None:
        return
    copy = tmp_path / UNIT.name
    there = {"/opt/worker/bin/leadership": "/bin/true", "User=worker": "User=root"}
    text = UNIT.read_text()
    for name, instead in there.items():
        assert name in text
        text = text.replace(name, instead)
    copy.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=50, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_wrong_unit_is_refused(tmp_path: Path) -> None:
    """The check above finds a misspelled directive, where systemd is installed."""
    if shutil.which("systemd-analyze") is None:
        return
    copy = tmp_path / UNIT.name
    copy.write_text(
        UNIT.read_text()
        .replace("KillMode=", "KilMode=")
        .replace("/opt/worker/bin/leadership", "/bin/true")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=50, check=False
    )
    assert "KilMode" in verified.stderr


@pytest.mark.parametrize("document", manifests(), ids=lambda one: str(one["kind"]))
def test_manifest_is_valid(document: dict[str, object]) -> None:
    """Against the schemas of the newest and of an older Kubernetes, without unknown fields."""
    for release in ("1.31", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(document, release, strict=True)


def test_wrong_manifest_is_refused() -> None:
    """The check above finds a misspelled field."""
    deployment = manifests()[0]
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGraceSeconds"] = pod.pop("terminationGracePeriodSeconds")

    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGraceSeconds"):
        kubernetes_validate.validate(deployment, "1.31", strict=True)


def test_times_of_the_deployment_fit() -> None:
    """The pod has the time to end its program and to release; probes are slower than the ttl."""
    pod = manifests()[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    seconds = dict(re.findall(r"--(ttl|grace) ([\d.]+)s", " ".join(container["args"])))
    liveness = container["livenessProbe"]

    needed = float(seconds["grace"]) + _RELEASE_SECONDS
    assert pod["terminationGracePeriodSeconds"] > needed
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > float(seconds["ttl"])
