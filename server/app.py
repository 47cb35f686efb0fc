"""`segue serve`: every part put together, from the first socket to the clean stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import uvicorn
from fastapi import FastAPI

from segue.server.config import ServerConfig, clap_folder
from segue.server.desk import Desk
from segue.server.events import Hub
from segue.server.listen import listen
from segue.server.routes import build_app
from segue.server.store import Store
from segue.server.worker import Engine, Worker

MAX_SOCKET_MESSAGE_BYTES = 4096  # clients have nothing to say over the WebSocket
GRACE_SECONDS = 3  # for open connections, when stopping


class Server:
    """One server from start to stop: `run` blocks until a signal or `stop`.

    `load` makes the engine, in the worker's thread, once the server listens.
    """

    def __init__(self, config: ServerConfig, load: Callable[[], Engine] | None = None) -> None:
        self.url = ""
        self.listening = threading.Event()
        self._config = config
        self._load = load or (lambda: _load_engine(config.model))
        self._http: _Http | None = None

    def run(self) -> None:
        """Serve. A running job is put back in the queue when stopped.

        Raises SegueError when the port or the data folder cannot be had.
        """
        config, clock = self._config, time.monotonic
        with ExitStack() as stack:
            listener = stack.enter_context(closing(listen(config.host, config.port)))
            store = stack.enter_context(closing(Store(config.data_dir)))
            hub = Hub()
            desk = Desk(store, hub, queue_limit=config.queue_limit, now=clock())
            stack.callback(lambda: desk.stop(clock()))
            worker = Worker(desk, self._load)
            stack.callback(worker.stop)
            app = build_app(desk, hub, worker, config.model)

            def ready() -> None:
                host = f"[{config.host}]" if ":" in config.host else config.host
                self.url = f"http://{host}:{listener.getsockname()[1]}"
                print(f"segue serve: listening on {self.url}", flush=True)
                self.listening.set()
                worker.start()

            self._http = _Http(_http_config(app), ready)
            self._http.run(sockets=[listener])

    def stop(self) -> None:
        """Ask `run` to end; from any thread."""
        if self._http is not None:
            self._http.should_exit = True


def serve(config: ServerConfig, load: Callable[[], Engine] | None = None) -> None:
    """Run a server until SIGINT or SIGTERM, then return.

    Prints `segue serve: listening on http://HOST:PORT` once it does. Raises
    SegueError when the port or the data folder cannot be had.
    """
    # Code is loaded from it: not from a folder that every user of the machine may write to.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(config.data_dir / "compiled"))
    Server(config, load).run()


class _Http(uvicorn.Server):
    """uvicorn, saying when it is ready, and taking a signal for a success."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again after the stop, which then kills the process.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _http_config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _load_engine(model: str) -> Engine:
    from segue.server.engine import Engine as TorchEngine  # imports torch: seconds

    return TorchEngine.load(model, clap_folder())
