"""The Lease object: who holds it, what is stored in it, and the objects to write in its place.

The spec is the record of client-go's `leaderelection` package:
https://pkg.go.dev/k8s.io/client-go/tools/leaderelection/resourcelock#LeaderElectionRecord. What that
has no place for is in annotations, which client-go leaves as they are.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from leadership_core.backend import ConfigurationError, Entry, Leader, StoreUnavailable

from .names import name_of

__all__ = ["LABEL", "MAX_VALUE", "Lease", "Term", "new_identity"]

LABEL = "leadership/managed"
"""The label of all Leases with a key in the annotation `leadership/key`; its value is "true"."""

MAX_VALUE = 190 * 1024
"""Bytes of a value. Kubernetes allows 256 KiB for all annotations of an object."""

_KEY, _CREATED, _TERM = "leadership/key", "leadership/created", "leadership/term"
_ENTRY, _LEADER = "leadership/value", "leadership/leader"
_BASE64 = "-base64"
_READABLE = 100  # characters of a candidate's value in its identity
_DEFAULT_DURATION = 15  # seconds; of client-go, for a record without a duration

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_TERM_TEXT = re.compile(r"(\d{1,20}) (\d{1,10}) (.+)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class Term:
    """The last term that a candidate of this library has had; stays when others lead.

    Attributes:
        token: resource version of the Lease that the acquiring write replaced.
        transitions: the `leaseTransitions` of that write.
        holder: the identity of the candidate.
    """

    token: int
    transitions: int
    holder: str

    def __str__(self) -> str:
        return f"{self.token} {self.transitions} {self.holder}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the annotation; None if it was overwritten by hand."""
        match = _TERM_TEXT.fullmatch(text)
        return cls(int(match[1]), int(match[2]), match[3]) if match else None


class Lease:
    """A Lease as the server has returned it; not changed after that.

    Args:
        manifest: the object, parsed from JSON.

    Raises:
        StoreUnavailable: it is no Lease, or its resource version is not a number.
    """

    __slots__ = ("_annotations", "_spec", "manifest", "name", "version")

    def __init__(self, manifest: Any) -> None:
        try:
            metadata = manifest["metadata"]
            self.manifest: dict[str, Any] = manifest
            self.name: str = str(metadata["name"])
            self._annotations: Mapping[str, str] = metadata.get("annotations") or {}
            self._spec: Mapping[str, Any] = manifest.get("spec") or {}
            text = str(metadata["resourceVersion"])
            if not (text.isascii() and text.isdigit()):
                raise ValueError(f"the resource version {text!r:.60} is not a number")
            self.version: int = int(text)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise StoreUnavailable(f"the answer is not a Lease: {error!r:.200}") from error

    @property
    def key(self) -> str:
        """Its key; the name, if the annotation does not belong to the name."""
        key = str(self._annotations.get(_KEY, self.name))
        return key if name_of(key) == self.name else self.name

    @property
    def holder(self) -> str | None:
        """The identity of the candidate that holds it."""
        holder = self._spec.get("holderIdentity")
        return str(holder) if holder else None

    @property
    def duration(self) -> float:
        """Seconds after which a silent holder may be replaced."""
        found = self._spec.get("leaseDurationSeconds")
        return float(found) if isinstance(found, int) and found > 0 else float(_DEFAULT_DURATION)

    @property
    def transitions(self) -> int:
        found = self._spec.get("leaseTransitions")
        return found if isinstance(found, int) and found >= 0 else 0

    @property
    def term(self) -> Term | None:
        """The last term of a candidate of this library."""
        return Term.parse(str(self._annotations.get(_TERM, "")))

    @property
    def is_foreign(self) -> bool:
        """Whether a candidate of another program holds it."""
        term = self.term
        return self.holder is not None and (term is None or term.holder != self.holder)

    @property
    def is_ours(self) -> bool:
        """Whether this library has created it, so that it may delete it."""
        return self._annotations.get(_CREATED) == "true"

    @property
    def is_entry(self) -> bool:
        """Whether it has the value of an entry, and no holder."""
        return self.holder is None and _has_value(self._annotations, _ENTRY)

    @property
    def token(self) -> int:
        """The fencing token of the present holder.

        Other programs keep none. Theirs is counted on from our last one, by the transitions since;
        each of them was a write, so the resource version has grown by more.
        """
        term = self.term
        if term is None:
            return self.transitions + 1
        if term.holder == self.holder:
            return term.token
        return term.token + max(1, self.transitions - term.transitions)

    def leader(self) -> Leader | None:
        """The leader by this record; None if it has no holder."""
        holder = self.holder
        if holder is None:
            return None
        return Leader.of(self._holder_value(holder), self.token)

    def entry(self) -> Entry | None:
        """The entry or claim at the key; None if it is a Lease that was released."""
        holder = self.holder
        if holder is not None:
            return Entry(self.key, self._holder_value(holder), self.token, holder)
        if not self.is_entry:
            return None
        return Entry(self.key, _value(self._annotations, _ENTRY), self.version)

    def _holder_value(self, holder: str) -> bytes:
        if self.is_foreign or not _has_value(self._annotations, _LEADER):
            return holder.encode("utf-8", "surrogateescape")
        return _value(self._annotations, _LEADER)

    # -- what is written -------------------------------------------------------------------------

    @staticmethod
    def empty(key: str) -> dict[str, Any]:
        """A Lease without a holder."""
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name_of(key),
                "labels": {LABEL: "true"},
                "annotations": {_KEY: key, _CREATED: "true"},
            },
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0},
        }

    @classmethod
    def new_entry(cls, key: str, value: bytes) -> dict[str, Any]:
        """A Lease with the value of an entry."""
        manifest = cls.empty(key)
        _set_value(manifest["metadata"]["annotations"], _ENTRY, value)
        manifest["spec"]["renewTime"] = _now(None)
        return manifest

    def acquired(self, key: str, identity: str, value: bytes, ttl: int) -> dict[str, Any]:
        """This Lease with another holder; the token of its term is the version of this one."""
        manifest, annotations = self._draft(key)
        transitions = self.transitions + 1
        annotations[_TERM] = str(Term(self.version, transitions, identity))
        _set_value(annotations, _ENTRY, None)
        _set_value(annotations, _LEADER, value)
        now = self._renew_time()
        manifest["spec"] |= {
            "holderIdentity": identity,
            "leaseDurationSeconds": ttl,
            "leaseTransitions": transitions,
            "acquireTime": now,
            "renewTime": now,
        }
        return manifest

    def renewed(self, ttl: int) -> dict[str, Any]:
        """This Lease, renewed by its holder."""
        manifest = copy.deepcopy(self.manifest)
        manifest["spec"] |= {"leaseDurationSeconds": ttl, "renewTime": self._renew_time()}
        return manifest

    def released(self) -> dict[str, Any]:
        """This Lease without a holder, in the form of client-go's `ReleaseOnCancel`."""
        manifest, annotations = self._draft(None)
        _set_value(annotations, _LEADER, None)
        now = self._renew_time()
        manifest["spec"] |= {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": now,
            "renewTime": now,
        }
        return manifest

    def touched(self) -> dict[str, Any]:
        """This Lease with another resource version, so that an earlier request cannot apply."""
        manifest = copy.deepcopy(self.manifest)
        manifest.setdefault("spec", {})["renewTime"] = self._renew_time()
        return manifest

    def with_entry(self, key: str, value: bytes) -> dict[str, Any]:
        """This Lease with the value of an entry, and without a holder."""
        manifest, annotations = self._draft(key)
        _set_value(annotations, _LEADER, None)
        _set_value(annotations, _ENTRY, value)
        manifest["spec"] |= {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": self._renew_time(),
        }
        return manifest

    def _draft(self, key: str | None) -> tuple[dict[str, Any], dict[str, str]]:
        manifest = copy.deepcopy(self.manifest)
        metadata = manifest["metadata"]
        annotations: dict[str, str] = metadata.get("annotations") or {}
        metadata["annotations"] = annotations
        manifest["spec"] = manifest.get("spec") or {}
        if key is not None:
            metadata["labels"] = (metadata.get("labels") or {}) | {LABEL: "true"}
            annotations[_KEY] = key
        return manifest, annotations

    def _renew_time(self) -> str:
        return _now(self._spec.get("renewTime"))

    def __repr__(self) -> str:
        return f"<Lease {self.name} version={self.version} holder={self.holder!r}>"


def new_identity(value: bytes, unique: str) -> str:
    """The `holderIdentity` of a claim: what is readable of the value, and what makes it unique."""
    readable = "".join(char for char in value.decode("utf-8", "replace") if _is_plain(char))
    return f"{readable[:_READABLE]}_{unique}"


def _is_plain(char: str) -> bool:
    return char.isprintable() and char != "\ufffd"


def _now(last: object) -> str:
    """The time of this machine, for other programs to show; never the same as the last one.

    The server does not write an object that has not changed, and its version would stay. With a
    clock that stands still, a renewal would be none.
    """
    now = datetime.now(UTC)
    if now.strftime(_TIME) == last:
        now += timedelta(microseconds=1)
    return now.strftime(_TIME)


def _has_value(annotations: Mapping[str, str], name: str) -> bool:
    return name in annotations or f"{name}{_BASE64}" in annotations


def _value(annotations: Mapping[str, str], name: str) -> bytes:
    plain = annotations.get(name)
    if plain is not None:
        return str(plain).encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(str(annotations[f"{name}{_BASE64}"]), validate=True)
    except binascii.Error as error:
        raise StoreUnavailable(f"the annotation {name}{_BASE64} is not base64: {error}") from error


def _set_value(annotations: dict[str, str], name: str, value: bytes | None) -> None:
    """Keep a value in an annotation, as text if it is readable text; None removes it."""
    annotations.pop(name, None)
    annotations.pop(f"{name}{_BASE64}", None)
    if value is None:
        return
    if len(value) > MAX_VALUE:
        raise ConfigurationError(
            f"the value has {len(value)} bytes; kubernetes:// keeps {MAX_VALUE} at most, in an "
            "annotation of the Lease"
        )
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if all(char.isprintable() or char in "\n\t" for char in text):
        annotations[name] = text
    else:
        annotations[f"{name}{_BASE64}"] = base64.b64encode(value).decode()
