"""FastAPI on several workers and machines: one worker of all does the background work.

export LEADERSHIP_URL=etcd://127.0.0.1:2379
uvicorn fastapi_service:app --workers 4 --timeout-graceful-shutdown 10
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from leadership_core import Fenced, LeadershipLost, NotElected, StoreUnavailable
from leadership_core.aio import Candidate, Store, Term, open_store

URL = os.environ.get("LEADERSHIP_URL", "sqlite:///leadership.db")
NAME = f"{socket.gethostname()}-{os.getpid()}"

logging.basicConfig(level=logging.INFO)  # shows who leads
log = logging.getLogger("service")


async def work(store: Store, term: Term) -> None:
    """The background work. It is cancelled when the term is over, before another worker leads."""
    while True:
        try:
            # Without the fence, a worker that was paused in here would overwrite a newer value.
            await store.put("refresh/last", NAME.encode(), fence=term)
            log.info("refreshed in term %d", term.token)
        except Fenced:
            return
        except StoreUnavailable as error:
            log.warning("not refreshed: %s", error)
        await asyncio.sleep(10.0)


async def campaign(app: FastAPI, store: Store) -> None:
    while True:
        app.state.candidate = Candidate(store, "service/refresh", NAME, ttl=15)
        try:
            await app.state.candidate.lead(functools.partial(work, store))
        except Exception:
            # Without it, a task that has failed once would end unnoticed, and with it the candidate.
            log.exception("the work of the leader has failed; campaigning again in 5 s")
            await asyncio.sleep(5.0)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Here and not at import: each worker needs a store of its own.
    async with open_store(URL) as app.state.store:
        background = asyncio.create_task(campaign(app, app.state.store))
        yield
        background.cancel()  # SIGTERM: hands over at once, and not after the ttl
        await asyncio.wait([background])


app = FastAPI(lifespan=lifespan)


@app.get("/leader")
async def leader() -> dict[str, object]:
    return {"leader": str(await app.state.store.leader("service/refresh")), "this": NAME}


@app.post("/refresh")
async def refresh() -> dict[str, int]:
    """A request that only the leader may serve."""
    try:
        async with app.state.candidate.working() as term:  # no other one leads before its end
            await app.state.store.put("refresh/last", NAME.encode(), fence=term)
            return {"term": term.token}
    except (NotElected, LeadershipLost, Fenced) as error:
        raise HTTPException(503, "another worker leads") from error
