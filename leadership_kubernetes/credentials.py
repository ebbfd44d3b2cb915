"""How a client names itself to a cluster: a token, a file with one, or a command that prints one.

See https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from leadership_core.backend import (
    ConfigurationError,
    HiddenText,
    Secret,
    StoreRefused,
    StoreUnavailable,
    clock,
    remaining_timeout,
    shortened,
)

__all__ = ["Credentials", "ExecCommand", "check_api_version", "check_token"]

_EARLY = 10.0  # seconds before its end at which a credential is replaced
_PAUSE = 5.0  # seconds between two runs of a command for an answer 401
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """A command of a kubeconfig file that prints a credential.

    Attributes:
        words: the command and its arguments.
        env: what is added to the environment.
        api_version: of the document that it prints.
        cluster: the description of the cluster that it gets, or None.
    """

    words: Sequence[str]
    env: Mapping[str, str]
    api_version: str
    cluster: Mapping[str, Any] | None = None

    def run(self) -> Mapping[str, Any]:
        """Run it, and return the `status` that it prints; blocks for `remaining_timeout` at most.

        Raises:
            StoreUnavailable: it fails, or takes too long.
        """
        info: dict[str, Any] = {
            "kind": "ExecCredential",
            "apiVersion": self.api_version,
            "spec": {"interactive": False},
        }
        if self.cluster is not None:
            info["spec"]["cluster"] = self.cluster
        env = {**os.environ, **self.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        shown = shlex.quote(self.words[0])
        limit = remaining_timeout()
        try:
            done = subprocess.run(
                self.words,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StoreUnavailable(
                f"the credential command {shown} did not end within {limit:.2f} s"
            ) from None
        except OSError as error:
            raise StoreRefused(f"cannot run the credential command {shown}: {error}") from error
        if done.returncode != 0:
            said = shortened(done.stderr.decode("utf-8", "replace").strip())
            raise StoreUnavailable(
                f"the credential command {shown} failed with status {done.returncode}: {said}"
            )
        try:
            status: object = json.loads(done.stdout)["status"]
        except (ValueError, TypeError, LookupError, RecursionError):
            status = None
        if not isinstance(status, dict):  # what it printed may be secret
            raise StoreUnavailable(f"the credential command {shown} printed no ExecCredential")
        return status


@dataclass(slots=True)
class _Printed:
    token: Secret | None = None
    until: float | None = None  # on the clock of this machine, as the command has it
    at: float = field(default_factory=clock.now)


class Credentials:
    """The credentials of one store; thread-safe.

    Args:
        token: a token, or that of a file, which is read again whenever it was replaced.
        command: in place of a token.
        use_certificate: called with a certificate and its key, if the command prints those.
    """

    def __init__(
        self,
        token: Secret | None = None,
        command: ExecCommand | None = None,
        use_certificate: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._token = token
        self._command = command
        self._use_certificate = use_certificate
        self._lock = threading.RLock()  # reentrant: a signal handler may make a request, too
        self._printed: _Printed | None = None

    def headers(self) -> dict[str, str]:
        """The request headers with the present token.

        Raises:
            StoreUnavailable: the command fails.
        """
        token = self._current()
        return {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}

    def is_replaced(self, sent: Mapping[str, str]) -> bool:
        """Whether there is another credential than the one that the server has not accepted.

        Args:
            sent: the headers of the refused request.

        Raises:
            StoreUnavailable: the command fails.
        """
        if self._command is not None:
            with self._lock:
                printed = self._printed
                if printed is not None and clock.now() - printed.at > _PAUSE:
                    self._printed = None
        return self.headers() != sent

    def masked(self, text: str) -> str:
        """The text without the token, which a proxy may repeat in an error."""
        printed = self._printed
        for secret in (self._token, printed.token if printed is not None else None):
            if secret is not None:
                text = secret.masked(text)
        return text

    def _current(self) -> Secret | None:
        if self._command is None:
            return self._token
        with self._lock:
            printed = self._printed
            if printed is None or (printed.until is not None and time.time() > printed.until):
                printed = self._printed = self._run(self._command)
            return printed.token

    def _run(self, command: ExecCommand) -> _Printed:
        status = command.run()
        token, printed = status.get("token"), _Printed()
        if token:
            printed.token = Secret(HiddenText(str(token)), check=check_token)
        cert, key = status.get("clientCertificateData"), status.get("clientKeyData")
        if cert and key:
            self._use_certificate(f"{cert}\n{key}\n")
        ends = status.get("expirationTimestamp")
        if ends:
            try:
                printed.until = datetime.fromisoformat(str(ends)).timestamp() - _EARLY
            except ValueError:
                printed.until = None
        return printed

    def __repr__(self) -> str:
        return "<Credentials ***>"


def check_token(value: str) -> None:
    """Raise ValueError for a token that an HTTP header cannot carry; does not repeat it."""
    if not value.isascii() or not value.isprintable():
        raise ValueError("the token has invalid characters")


def check_api_version(found: object) -> str:
    """The version of a credential command's document; raises ConfigurationError."""
    if found not in _VERSIONS:
        raise ConfigurationError(
            f"the credential command of the kubeconfig file is for {found!r:.80}; known are {' and '.join(_VERSIONS)}"
        )
    return str(found)
