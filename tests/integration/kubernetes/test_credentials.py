"""Tokens that are replaced, commands that print them, and a process inside a cluster."""

from __future__ import annotations

import json
import logging
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest

from leadership_core.backend import ConfigurationError, StoreRefused, StoreUnavailable
from leadership_kubernetes import options
from tests.integration.kubernetes.conftest import Opener
from tests.support.servers.kubernetes import Kubernetes

_RULE = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "verbs": ["get", "list", "watch", "create", "update", "delete"],
}


@pytest.fixture
def account(shared_kubernetes: Kubernetes) -> str:
    """A service account that may do what a candidate does."""
    name = f"account-{uuid.uuid4().hex[:8]}"
    shared_kubernetes.user(name, [_RULE])
    return name


def ca_file(cluster: Kubernetes, folder: Path) -> Path:
    path = folder / "ca.crt"
    path.write_text(cluster.ca)
    return path


def test_token_file_that_is_replaced_is_read_again(
    shared_kubernetes: Kubernetes, account: str, opened: Opener, tmp_path: Path, unique_key: str
) -> None:
    """As the kubelet replaces that of a service account; the session goes on."""
    file = tmp_path / "token"
    file.write_text("not-a-token-any-more")
    where = f"{shared_kubernetes.host}:{shared_kubernetes.port}/default"
    ca = quote(str(ca_file(shared_kubernetes, tmp_path)))
    store = opened(f"kubernetes://{where}?ca={ca}&token_file={quote(str(file))}")
    with pytest.raises(StoreRefused, match="does not accept the credentials"):
        store.get(unique_key)

    file.write_text(shared_kubernetes.token_of(account))

    session = store.open_session(30)
    assert store.election(unique_key).enter(session, b"a").granted
    file.with_name("next").write_text(shared_kubernetes.token_of(account))
    file.with_name("next").replace(file)
    session.renew()
    session.close()


def test_process_in_the_cluster_uses_its_service_account(
    shared_kubernetes: Kubernetes,
    account: str,
    opened: Opener,
    tmp_path: Path,
    unique_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`kubernetes://` alone is enough: address, token, authority and namespace are all there."""
    (tmp_path / "token").write_text(shared_kubernetes.token_of(account))
    (tmp_path / "namespace").write_text("default")
    ca_file(shared_kubernetes, tmp_path)
    monkeypatch.setattr(options, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", shared_kubernetes.host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(shared_kubernetes.port))

    store = opened("kubernetes:///")

    assert store.put(unique_key, b"1").value == b"1"
    assert shared_kubernetes.api("GET", shared_kubernetes.lease_path())["items"]


def test_command_of_a_kubeconfig_file_prints_the_token(
    shared_kubernetes: Kubernetes, account: str, opened: Opener, tmp_path: Path, unique_key: str
) -> None:
    """It runs once, and again when the server does not accept the token any more."""
    runs, token = tmp_path / "runs", tmp_path / "token"
    script = tmp_path / "print-token.py"
    script.write_text(
        "import json, os, pathlib, sys\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "runs = pathlib.Path(sys.argv[1])\n"
        "runs.write_text((runs.read_text() if runs.exists() else '') + os.environ['WHO'])\n"
        "token = pathlib.Path(sys.argv[2]).read_text()\n"
        "print(json.dumps({'apiVersion': info['apiVersion'], 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))\n"
    )
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(script), str(runs), str(token)],
        "env": [{"name": "WHO", "value": "x"}],
        "interactiveMode": "Never",
    }
    file = shared_kubernetes.write_kubeconfig(tmp_path / "exec.yaml", {"exec": command})
    token.write_text(shared_kubernetes.token_of(account))
    store = opened(f"kubernetes:///default?kubeconfig={quote(str(file))}")

    store.put(unique_key, b"1")
    store.get(unique_key)

    assert runs.read_text() == "x"


def test_command_that_fails_says_why_and_prints_no_secret(
    shared_kubernetes: Kubernetes, opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it prints to its standard output is never shown."""
    caplog.set_level(logging.DEBUG)
    for code, expected in (
        ("import sys; print('s3cret'); sys.exit('log in first')", "log in first"),
        ("print('s3cret')", "printed no ExecCredential"),
        ("import time; print('s3cret'); time.sleep(60)", "did not end within"),
    ):
        command = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-c", code],
        }
        file = shared_kubernetes.write_kubeconfig(tmp_path / "exec.yaml", {"exec": command})
        store = opened(f"kubernetes:///default?kubeconfig={quote(str(file))}")
        with pytest.raises(StoreUnavailable, match=expected) as raised:
            store.get("a")
        assert "s3cret" not in f"{raised.value!r}{caplog.text}"


def test_server_certificate_must_be_signed_by_the_kubeconfig_authority(
    shared_kubernetes: Kubernetes, opened: Opener, tmp_path: Path
) -> None:
    """With an authority in the file, no other one is trusted."""
    import trustme

    text = shared_kubernetes.kubeconfig.read_text()
    other = tmp_path / "other.yaml"
    import base64

    mine = base64.b64encode(shared_kubernetes.ca.encode()).decode()
    theirs = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    other.write_text(text.replace(mine, theirs))

    with pytest.raises(StoreRefused, match="not trusted"):
        opened(f"kubernetes:///default?kubeconfig={quote(str(other))}").get("a")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{", "is not YAML"),
        ("[]", "is not a kubeconfig file"),
        ("{}", "has no current context"),
        ("{current-context: a}", "has no context 'a'"),
        (
            json.dumps(
                {
                    "current-context": "a",
                    "contexts": [{"name": "a", "context": {"cluster": "c"}}],
                    "clusters": [{"name": "c", "cluster": {"server": "ftp://x"}}],
                }
            ),
            "no URL of HTTP",
        ),
    ],
)
def test_kubeconfig_file_that_cannot_be_used_is_named(
    document: str, expected: str, opened: Opener, tmp_path: Path
) -> None:
    """The message has the file and the part, and nothing of the content."""
    file = tmp_path / "config"
    file.write_text(document)

    with pytest.raises(ConfigurationError, match=expected):
        opened(f"kubernetes:///default?kubeconfig={quote(str(file))}")
