"""The recipes, by their names in `docs/recipes.md`."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.recipes.programs import EXAMPLES, TTL, Recipe

__all__ = ["RECIPES", "UNIT", "manifests"]

UNIT = EXAMPLES / "systemd" / "worker.service"
_MANIFEST = EXAMPLES / "kubernetes" / "worker.yaml"


def manifests() -> list[dict[str, Any]]:
    """The documents of the Kubernetes recipe."""
    return list(yaml.safe_load_all(_MANIFEST.read_text()))


def _local(command: str, worker: str) -> str:
    """The command of a unit or container, with the paths, times and ports of a test."""
    replaced = {
        r"^\S*leadership ": "{python} -m leadership_core.cli ",
        re.escape(worker) + "$": "{folder}/worker.sh",
        "--ttl 15s": f"--ttl {TTL}s",
    }
    for pattern, replacement in replaced.items():
        command, count = re.subn(pattern, replacement, command)
        assert count == 1, (pattern, command)
    return command.replace("0.0.0.0:8099", "127.0.0.1:{port}")


def _of_unit() -> str:
    (command,) = re.findall("^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    return _local(command, "/opt/worker/bin/worker")


def _of_container() -> str:
    (container,) = manifests()[0]["spec"]["template"]["spec"]["containers"]
    return _local(" ".join([*container["command"], *container["args"]]), "/app/worker")


RECIPES = {
    "apscheduler": Recipe(
        key="service/reports",
        path="apscheduler_reports.py",
        command="{python} {folder}/apscheduler_reports.py",
        replaced={"ttl=15": f"ttl={TTL}", "seconds=60": "seconds=0.2"},
    ),
    "gunicorn": Recipe(
        key="service/refresh",
        path="gunicorn_conf.py",
        command="{python} -m gunicorn -c {folder}/gunicorn_conf.py -b unix:{folder}/{number}.sock "
        "--no-control-socket tests.recipes.web_app:app",
        replaced={"ttl=15": f"ttl={TTL}", "wait_lost(10.0)": "wait_lost(0.2)"},
        codes=(0,),
        candidates=2,
    ),
    "fastapi": Recipe(
        key="service/refresh",
        path="fastapi_service.py",
        command="{python} -m uvicorn fastapi_service:app --workers 2 --uds {folder}/{number}.sock "
        "--timeout-graceful-shutdown 5",
        replaced={"ttl=15": f"ttl={TTL}", "sleep(10.0)": "sleep(0.2)"},
        codes=(0,),
        candidates=2,
    ),
    "celery": Recipe(
        key="service/beat",
        path="celery_beat.py",
        command="{python} -m celery -A celery_beat beat -S celery_beat:ElectedScheduler "
        "--pidfile= -l info",
        replaced={"ttl=15": f"ttl={TTL}", '"schedule": 60.0': '"schedule": 3.0'},
        codes=(0,),
    ),
    "systemd": Recipe(key="service/worker", path="systemd", command=_of_unit()),
    "kubernetes": Recipe(key="service/worker", path="kubernetes", command=_of_container()),
    "django": Recipe(
        key="service/reports",
        path="django_project",
        command="{python} {folder}/django_project/manage.py run_leader",
        replaced={'"ttl": 15': f'"ttl": {TTL}', "wait_lost(60.0)": "wait_lost(0.2)"},
        prepare=("{python} {folder}/django_project/manage.py migrate",),
        env={"DATABASE": "{folder}/reports.db"},
    ),
}
