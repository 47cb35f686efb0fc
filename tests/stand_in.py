"""A server that follows the HTTP contract, and lets a test decide when and whether it answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Response, WebSocket
from fastapi import Request as Http

from segue.presets.vocabulary import (
    Code,
    Event,
    Failure,
    Health,
    Progress,
    Request,
    State,
    Status,
)

HEALTH = Health(version="1", instance="x", pid=1, model="m", device="cpu", worker="ready", queued=0)
ENDED = {"result": State.DONE, "failure": State.FAILED, "cancelled": State.CANCELLED}


class StandIn:
    """A server of the contract whose jobs do what the test says."""

    def __init__(self) -> None:
        self.jobs: dict[str, Status] = {}
        self.cancelled: list[str] = []  # as they were asked to be
        self.sockets: list[WebSocket] = []
        self.events_work = True
        self.refusal: Response | None = None
        self.app = FastAPI()
        self.app.get("/health")(self.health)
        self.app.post("/jobs")(self.submit)
        self.app.get("/jobs/{job_id}")(self.status)
        self.app.post("/jobs/{job_id}/cancel")(self.cancel)
        self.app.websocket("/events")(self.events)

    async def before_answer(self) -> None:
        """What happens between taking a job and saying so."""

    async def health(self) -> Health:
        """The contract's."""
        return HEALTH

    async def submit(self, http: Http) -> Response:
        """The contract's, except for `before_answer` and `refusal`."""
        request = Request.model_validate_json(await http.body())
        queued = Progress(id=request.id, fraction=0.0, stage=State.QUEUED)
        fresh = Status(id=request.id, state=State.QUEUED, request=request, event=queued)
        answer = self.jobs.setdefault(request.id, fresh)
        await self.before_answer()
        return self.refusal or Response(answer.model_dump_json(), 202)

    async def status(self, job_id: str) -> Response:
        """The contract's."""
        if job_id not in self.jobs:
            failure = Failure(id=job_id, code=Code.UNKNOWN_ID, text="unknown")
            return Response(failure.model_dump_json(), 404)
        return Response(self.jobs[job_id].model_dump_json())

    async def cancel(self, job_id: str) -> Response:
        """The contract's; the job stops at its next iteration."""
        self.cancelled.append(job_id)
        return await self.status(job_id)

    async def events(self, events: WebSocket) -> None:
        """The contract's, while `events_work`."""
        if self.events_work:
            await events.accept()
            self.sockets.append(events)
            while (await events.receive())["type"] != "websocket.disconnect":
                pass
            self.sockets.remove(events)

    def end(self, event: Event) -> None:
        """The job ends without anyone being told."""
        state = ENDED[event.type]
        self.jobs[event.id] = self.jobs[event.id].model_copy(
            update={"state": state, "event": event}
        )

    async def tell(self, event: Event) -> None:
        """Everyone who listens hears of it."""
        for listener in self.sockets:
            await listener.send_text(event.model_dump_json())

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        """The stand-in listens; leaving stops it."""
        listener = socket.create_server(("127.0.0.1", port))
        config = uvicorn.Config(
            self.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await task
        listener.close()
