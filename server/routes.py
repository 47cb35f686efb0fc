"""HTTP and WebSocket in front of the desk: this file only translates."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import FileResponse
from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.exceptions import HTTPException

from segue.presets import vocabulary as words
from segue.presets.library import apply, sentence, shipped_preset
from segue.presets.vocabulary import EVENT, Code, Failure, Health, SegueError, State, Status, Word
from segue.server.desk import Desk
from segue.server.events import Hub, Mailbox, TooSlowError
from segue.server.guard import Guard
from segue.server.worker import Worker

HTTP_STATUS = {
    Code.BAD_REQUEST: 422,
    Code.ID_TAKEN: 409,
    Code.UNKNOWN_ID: 404,
    Code.MISSING_FILE: 404,
    Code.QUEUE_FULL: 429,
    Code.DISK: 507,
}
RETRY_AFTER_SECONDS = 5
STALL_SECONDS = 60.0  # without progress, after which health says so
MAX_TEXT = 2000  # characters of a sentence about a bad body
TRY_AGAIN_LATER = 1013  # WebSocket close code of the IANA registry


def build_app(
    desk: Desk,
    hub: Hub,
    worker: Worker,
    model: str,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The server's addresses. Every error body is a Failure."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.add_middleware(Guard)
    app.add_exception_handler(SegueError, _on_segue_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    _add_health(app, desk, worker, model, clock)
    _add_jobs(app, desk, clock)
    _add_result(app, desk)
    _add_events(app, hub)
    return app


def _add_health(
    app: FastAPI, desk: Desk, worker: Worker, model: str, clock: Callable[[], float]
) -> None:
    instance, release = uuid.uuid4().hex, version("segue")

    @app.get("/health")
    async def health() -> Health:
        """Answered on the event loop, from memory, without a lock."""
        running = desk.running
        problem = worker.problem
        if running is not None and (silence := clock() - running.changed) > STALL_SECONDS:
            problem = f"job {running.id} has made no progress for {silence:.0f} s"
        return Health(
            version=release,
            instance=instance,
            pid=os.getpid(),
            model=model,
            device=worker.device,
            worker=worker.state,
            queued=desk.queued,
            running=running.id if running is not None else None,
            problem=problem,
        )


def _add_jobs(app: FastAPI, desk: Desk, clock: Callable[[], float]) -> None:
    # Plain functions: FastAPI runs them in threads, where they may parse and wait for the disk.

    @app.post("/jobs")
    def submit(body: Annotated[bytes, Depends(_json_body)]) -> Response:
        request = _parse(body)
        try:
            status, new = desk.submit(request, clock())
        except SegueError as error:
            return _refusal(error, request.id)
        return _json(status, 202 if new else 200)

    @app.get("/jobs")
    def statuses() -> list[Status]:
        return desk.statuses()

    @app.get("/jobs/{job_id}")
    def status(job_id: str) -> Status:
        return desk.status(job_id)

    @app.post("/jobs/{job_id}/cancel")
    def cancel(job_id: str) -> Status:
        return desk.cancel(job_id, clock())


def _add_result(app: FastAPI, desk: Desk) -> None:
    @app.get("/jobs/{job_id}/result")
    def result(job_id: str, http: Request) -> FileResponse:
        state = desk.status(job_id).state
        if state is not State.DONE:
            raise SegueError(Code.MISSING_FILE, f"job {job_id} is {state.value}: it has no result")
        path = desk.result_path(job_id)
        if not path.is_file():
            raise SegueError(Code.MISSING_FILE, f"{path} is gone: somebody moved or deleted it")
        # A server may ignore Range (RFC 9110, 14.2); this one sends whole files only.
        http.scope["headers"] = [h for h in http.scope["headers"] if h[0] != b"range"]
        headers = {"x-content-type-options": "nosniff", "accept-ranges": "none"}
        return FileResponse(path, media_type="audio/wav", filename=path.name, headers=headers)


def _add_events(app: FastAPI, hub: Hub) -> None:
    @app.websocket("/events")
    async def events(socket: WebSocket) -> None:
        if hub.full:
            text = "too many programs listen already: close one, or ask GET /jobs instead"
            failure = Failure(id="", code=Code.QUEUE_FULL, text=text)
            await socket.send_denial_response(_json(failure, 503))
            return
        mailbox = hub.join()
        sender = None
        try:
            await socket.accept()
            sender = asyncio.create_task(_send_all(socket, mailbox))
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass  # this socket only speaks
        finally:
            hub.leave(mailbox)
            if sender is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)


async def _send_all(socket: WebSocket, mailbox: Mailbox) -> None:
    try:
        while True:
            await socket.send_text(EVENT.dump_json(await mailbox.take()).decode())
    except TooSlowError:
        await socket.close(TRY_AGAIN_LATER, "too slow: connect again and ask GET /jobs")


async def _json_body(http: Request) -> bytes:
    # A form can be sent across sites without asking the browser first; JSON cannot.
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send the request as application/json")
    return await http.body()


def _parse(body: bytes) -> words.Request:
    """Strict: no strings for numbers. Raises SegueError(BAD_REQUEST) naming the keys."""
    try:
        return words.Request.model_validate_json(_over_preset(body), strict=True)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, sentence(error)[:MAX_TEXT]) from error


def _over_preset(body: bytes) -> bytes:
    """The body, or the request it means by naming a shipped preset."""
    try:
        fields = from_json(body)
    except ValueError:
        return body  # to be refused in the same words as ever
    if not isinstance(fields, dict) or "preset" not in fields:
        return body
    name = fields.pop("preset")
    if not isinstance(name, str):
        raise SegueError(Code.BAD_REQUEST, "preset: give the name of a preset")
    try:
        return to_json(apply(shipped_preset(name), fields))
    except SegueError as error:
        raise SegueError(error.code, f"preset: {error.text}"[:MAX_TEXT]) from error


def _json(message: Word, status: int) -> Response:
    return Response(message.model_dump_json(), status, media_type="application/json")


def _refusal(error: SegueError, job_id: str) -> Response:
    response = _json(error.failure(job_id), HTTP_STATUS.get(error.code, 500))
    if error.code is Code.QUEUE_FULL:
        response.headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    return response


async def _on_segue_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, SegueError)
    return _refusal(error, http.path_params.get("job_id", ""))


async def _on_http_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"{http.method} {http.url.path}: {error.detail}"[:MAX_TEXT]
    response = _json(Failure(id="", code=Code.BAD_REQUEST, text=text), error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _on_bug(http: Request, error: Exception) -> Response:
    text = f"{type(error).__name__}: this is a bug; the server's log has the details"
    return _json(Failure(id="", code=Code.INTERNAL, text=text), 500)
