"""Model of etcd: leases, revisions, transactions and watches."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from leadership_core.errors import SessionLost
from leadership_etcd.compat import pb
from leadership_etcd.rpc import GRANT, KEEP_ALIVE, RANGE, REVOKE, TIME_TO_LIVE, TXN, Method

from .kernel import World
from .server import KEY, Server, ServerClaim, ServerSession

__all__ = ["EtcdServer", "Event"]

_FOLDER = f"{KEY}/".encode()
_KEY_VALUE = pb.RangeResponse.DESCRIPTOR.fields_by_name["kvs"].message_type._concrete_class
_EVENT = pb.WatchResponse.DESCRIPTOR.fields_by_name["events"].message_type._concrete_class
_COMPARES = {pb.Compare.CREATE: "created", pb.Compare.MOD: "modified"}


@dataclass(frozen=True, slots=True)
class _Record:
    key: bytes
    value: bytes
    created: int
    modified: int
    version: int
    lease: int

    def message(self, *, keys_only: bool = False) -> Any:
        if keys_only:  # 3.7 leaves out the lease, so a client may rely on the key only
            return _KEY_VALUE(key=self.key)
        return _KEY_VALUE(
            key=self.key,
            value=self.value,
            create_revision=self.created,
            mod_revision=self.modified,
            version=self.version,
            lease=self.lease,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """An event that watches deliver."""

    revision: int
    key: bytes
    message: Any


class EtcdServer(Server):
    """etcd as one linearizable server.

    Attributes:
        revision: of the last write.
        events: all, in order.
        compacted: events up to that revision are gone.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        super().__init__(world, rng, 1.0, 1.08)
        self.revision = 5
        self.compacted = 0
        self.events: list[Event] = []
        self._records: dict[bytes, _Record] = {}
        self._past: dict[int, dict[bytes, _Record]] = {5: {}}

    def new_id(self, number: int) -> str:
        return f"{0x694D8A00 + number * 0x11:x}"

    # -- calls -------------------------------------------------------------------------------

    def call(self, method: Method[Any], request: Any) -> Any:
        """Answer a request."""
        if method is RANGE:
            return self._range(request)
        if method is TXN:
            return self._txn(request)
        if method is GRANT:
            session = self.open(float(request.TTL))
            return GRANT.response(ID=int(session.id, 16), TTL=request.TTL)
        found = self.sessions.get(f"{request.ID:x}")
        if method is KEEP_ALIVE:
            if found is None:
                return KEEP_ALIVE.response(ID=request.ID, TTL=0)
            self.touch(found)
            return KEEP_ALIVE.response(ID=request.ID, TTL=int(found.ttl))
        if method is TIME_TO_LIVE:
            return TIME_TO_LIVE.response(ID=request.ID, TTL=-1 if found is None else int(found.ttl))
        assert method is REVOKE
        if found is None:
            raise SessionLost("etcd has ended the lease")
        self.end(found)
        return REVOKE.response()

    def _header(self) -> Any:
        return pb.ResponseHeader(revision=self.revision)

    def _range(self, request: Any) -> Any:
        at = request.revision or self.revision
        records = self._past[at]
        if request.range_end:
            found = [
                one
                for key, one in sorted(records.items())
                if request.key <= key < request.range_end
                and request.min_create_revision <= one.created
                and one.created <= (request.max_create_revision or one.created)
            ]
        else:
            found = [records[request.key]] if request.key in records else []
        if request.sort_target == pb.RangeRequest.CREATE:
            last_first = request.sort_order == pb.RangeRequest.DESCEND
            found.sort(key=lambda one: one.created, reverse=last_first)
        limited = found[: request.limit] if request.limit else found
        return RANGE.response(
            header=self._header(),
            kvs=[one.message(keys_only=request.keys_only) for one in limited],
            more=len(limited) < len(found),
            count=len(found),
        )

    def _txn(self, request: Any) -> Any:
        holds = all(self._holds(one) for one in request.compare)
        operations = request.success if holds else request.failure
        puts = [one.request_put for one in operations if one.HasField("request_put")]
        if any(put.lease and f"{put.lease:x}" not in self.sessions for put in puts):
            raise SessionLost("etcd has ended the lease")
        writing = [one for one in operations if one.WhichOneof("request") != "request_range"]
        if writing:
            self.revision += 1
        answers, events = [], []
        for one in operations:
            kind = one.WhichOneof("request")
            if kind == "request_range":
                self._past[self.revision] = dict(self._records)
                answers.append(pb.ResponseOp(response_range=self._range(one.request_range)))
            elif kind == "request_put":
                events.append(self._put(one.request_put))
                answers.append(pb.ResponseOp(response_put=pb.PutResponse()))
            else:
                events += self._delete(one.request_delete_range.key)
                answers.append(pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse()))
        self._publish(events)
        return TXN.response(header=self._header(), succeeded=holds, responses=answers)

    def _holds(self, compare: Any) -> bool:
        now = self._records.get(compare.key)
        wanted = (
            compare.create_revision if compare.target == pb.Compare.CREATE else compare.mod_revision
        )
        return bool((0 if now is None else getattr(now, _COMPARES[compare.target])) == wanted)

    def _put(self, request: Any) -> Event:
        now = self._records.get(request.key)
        record = _Record(
            request.key,
            request.value,
            self.revision if now is None else now.created,
            self.revision,
            1 if now is None else now.version + 1,
            request.lease,
        )
        self._records[request.key] = record
        if request.lease:
            self.sessions[f"{request.lease:x}"].keys.add(request.key.decode())
        if request.key.startswith(_FOLDER) and now is None:
            self.record_claim(request.value)
        return Event(self.revision, request.key, _EVENT(type=0, kv=record.message()))

    def _delete(self, key: bytes) -> list[Event]:
        if self._records.pop(key, None) is None:
            return []
        gone = _KEY_VALUE(key=key, mod_revision=self.revision)
        return [Event(self.revision, key, _EVENT(type=1, kv=gone))]

    def _publish(self, events: list[Event]) -> None:
        self._past[self.revision] = dict(self._records)
        self._past.pop(self.revision - 100, None)
        if events:
            self.events += events
            self.changed()

    def free(self, session: ServerSession) -> None:
        keys = [key.encode() for key in sorted(session.keys)]
        held = [
            key
            for key in keys
            if key in self._records and self._records[key].lease == int(session.id, 16)
        ]
        if held:
            self.revision += 1
            self._publish([event for key in held for event in self._delete(key)])

    def touch_all(self) -> None:
        super().touch_all()
        if self.rng.random() < 0.5:
            self.compacted = self.revision
            self.world.note(f"server: compacted up to {self.revision}")

    # -- for the checks ----------------------------------------------------------------

    def claims(self) -> list[ServerClaim]:
        records = [
            one for key, one in self._records.items() if key.startswith(_FOLDER) and one.lease
        ]
        records.sort(key=lambda one: one.created)
        return [ServerClaim(one.value, one.created, f"{one.lease:x}", one.key) for one in records]

    # -- an operator -------------------------------------------------------------------------

    def delete_first(self) -> None:
        self._delete_claim(self.claims()[0])

    def operator_deletes(self) -> None:
        waiting = self.claims()[1:]
        if not waiting or self.rng.random() < 0.5:
            super().operator_deletes()
            return
        # Its candidate must never lead with it, so it is not exempt from any check.
        self.world.note("an operator deletes the key of a waiting claim")
        self._delete_claim(self.rng.choice(waiting))

    def _delete_claim(self, claim: ServerClaim) -> None:
        assert isinstance(claim.place, bytes)
        self.revision += 1
        self._publish(self._delete(claim.place))

    def overwrite_first(self) -> None:
        first = self.claims()[0]
        self.revision += 1
        lease = self.rng.choice([0, int(first.session, 16)])
        put = pb.PutRequest(key=first.place, value=b"by hand", lease=lease)
        self._publish([self._put(put)])
