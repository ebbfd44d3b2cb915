"""The calls of etcd's API that we make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .proto import rpc

__all__ = [
    "AUTHENTICATE",
    "DELETE",
    "GRANT",
    "KEEP_ALIVE",
    "MEMBERS",
    "PUT",
    "RANGE",
    "REVOKE",
    "STATUS",
    "TIME_TO_LIVE",
    "TXN",
    "WATCH",
    "Method",
]


@dataclass(frozen=True, slots=True)
class Method:
    """One call.

    Attributes:
        path: as gRPC names it.
        request: the message that is sent.
        answer: the message that comes back.
        repeatable: whether sending it twice does what sending it once does. Of writes, only
            those whose guard sees to that are sent as such.
    """

    path: str
    request: Any
    answer: Any
    repeatable: bool


RANGE = Method("/etcdserverpb.KV/Range", rpc.RangeRequest, rpc.RangeResponse, repeatable=True)
PUT = Method("/etcdserverpb.KV/Put", rpc.PutRequest, rpc.PutResponse, repeatable=False)
TXN = Method("/etcdserverpb.KV/Txn", rpc.TxnRequest, rpc.TxnResponse, repeatable=False)
DELETE = Method(
    "/etcdserverpb.KV/DeleteRange",
    rpc.DeleteRangeRequest,
    rpc.DeleteRangeResponse,
    repeatable=False,
)
# One too many costs a lease that nobody renews.
GRANT = Method(
    "/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest, rpc.LeaseGrantResponse, repeatable=True
)
REVOKE = Method(
    "/etcdserverpb.Lease/LeaseRevoke",
    rpc.LeaseRevokeRequest,
    rpc.LeaseRevokeResponse,
    repeatable=True,
)
# It is a stream both ways; with one message each way it is a call like any other, which needs no
# thread and has a deadline.
KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    rpc.LeaseKeepAliveRequest,
    rpc.LeaseKeepAliveResponse,
    repeatable=True,
)
TIME_TO_LIVE = Method(
    "/etcdserverpb.Lease/LeaseTimeToLive",
    rpc.LeaseTimeToLiveRequest,
    rpc.LeaseTimeToLiveResponse,
    repeatable=True,
)
AUTHENTICATE = Method(
    "/etcdserverpb.Auth/Authenticate",
    rpc.AuthenticateRequest,
    rpc.AuthenticateResponse,
    repeatable=True,
)
STATUS = Method(
    "/etcdserverpb.Maintenance/Status", rpc.StatusRequest, rpc.StatusResponse, repeatable=True
)
MEMBERS = Method(
    "/etcdserverpb.Cluster/MemberList",
    rpc.MemberListRequest,
    rpc.MemberListResponse,
    repeatable=True,
)
WATCH = Method("/etcdserverpb.Watch/Watch", rpc.WatchRequest, rpc.WatchResponse, repeatable=False)
