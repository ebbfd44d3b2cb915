"""Pages of the status server: what each path answers."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from .addresses import is_allowed_host
from .documents import leader_document
from .history import ElectionRecord
from .requests import Request
from .responses import Response, json_response, text_response

__all__ = ["FILES", "check_request", "health", "leader", "page", "readiness", "static_file"]

FILES = {
    "/style.css": "text/css; charset=utf-8",
    "/app.js": "text/javascript; charset=utf-8",
    "/timeline.js": "text/javascript; charset=utf-8",
    "/icon.svg": "image/svg+xml",
}


def check_request(request: Request, bound: str) -> Response | None:
    """Return the refusal of a request that no path answers, or None.

    Args:
        request: the request.
        bound: the numeric address that the server is bound to.
    """
    if not is_allowed_host(request.host, bound):
        return text_response(
            421,
            "this server listens on the loopback address and answers requests to it alone: the header "
            "Host must be localhost, 127.0.0.1 or [::1] (a proxy in front of it sets it)",
        )
    if request.method not in {"GET", "HEAD"}:
        return text_response(405, "only GET and HEAD are allowed", Allow="GET, HEAD")
    return None


def static_file(path: str) -> Response:
    """Return a file of this package; the path is one of `FILES`."""
    return Response(200, FILES[path], _read(path))


def leader(request: Request, elections: list[ElectionRecord]) -> Response:
    """`/leader`: the leader of the election, or of each one.

    With one election, or with `?key=`, it is an object, and the status code tells whether there is
    a leader. With several it is a list of such objects.
    """
    key = request.query.get("key")
    chosen = elections if key is None else [one for one in elections if one.key == key.strip("/")]
    documents = [leader_document(one) for one in chosen]
    if not documents:
        return json_response(404, {"error": "no election of that key is served here"})
    if len(documents) > 1:
        return json_response(200, documents)
    if not documents[0]["known"]:
        return json_response(503, documents[0])
    return json_response(200 if documents[0]["value"] is not None else 404, documents[0])


def health(elections: list[ElectionRecord]) -> Response:
    """`/livez`: 503 while a leader cannot renew, and once a watchdog has ended a term."""
    troubles = []
    for election in elections:
        for one in election.candidates:
            if one.barked:
                troubles.append(f"the watchdog has ended a term of {election.key}")
            elif one.state == "suspended":
                troubles.append(f"the leader of {election.key} cannot renew its lease")
    return _probe(troubles)


def readiness(elections: list[ElectionRecord]) -> Response:
    """`/readyz`: 200 if every candidate leads or could be elected, and every follower follows."""
    troubles = []
    for election in elections:
        if election.leading is None and not election.known:
            troubles.append(f"the store has not answered yet for {election.key}")
        elif not election.store_answers and election.leading is None:
            troubles.append(f"the store gives no usable answers for {election.key}")
        if election.stopped:
            troubles.append(f"{election.key} is followed no more")
        troubles += [
            f"the candidate for {election.key} is {one.state}"
            for one in election.candidates
            if one.state not in {"leading", "standby"}
        ]
    return _probe(troubles)


def page(elections: list[ElectionRecord]) -> Response:
    """`/`: the live page, with the present state for browsers that run no scripts."""
    rows = "".join(_row(one) for one in elections)
    text = _read("/index.html").decode().replace("<!-- rows -->", rows)
    return Response(200, "text/html; charset=utf-8", text.encode("utf-8", "replace"))


def _row(election: ElectionRecord) -> str:
    document = leader_document(election)
    value = document["value"]
    if value is not None:
        who, token = str(value), str(document["token"])
    else:
        who, token = ("no leader" if document["known"] else "not known yet"), ""
    store = "answers" if election.store_answers else election.error or "has not answered yet"
    cells = (election.key, who, token, f"{election.store}: {store}")
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _probe(troubles: list[str]) -> Response:
    if not troubles:
        return text_response(200, "ok")
    return text_response(503, "\n".join(troubles))


def _read(path: str) -> bytes:
    return files(__package__).joinpath("static", path.removeprefix("/")).read_bytes()
