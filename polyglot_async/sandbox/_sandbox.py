"""The sandbox itself: puts the parts together and owns their lifetimes; holds no logic of the API."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ._background import BackgroundTasks
from ._ledger import Ledger
from ._outbound import OutboundClient
from ._storage import ACTIVE, FINAL, Database, StoredTask, TaskStore
from .engines._engine import Engine, ScriptedEngine, choose_engine
from .engines._task_runner import TaskRunner
from .engines._workers import WorkerPool
from .faults._fault import Fault, Faults
from .server._accounts import KEY_LIFETIME, Accounts, ApiKey
from .server._app import BASE, App, api_routes
from .server._control import ControlPages
from .server._limits import Plan, RequestLimits
from .server._middleware import Middleware
from .server._read_calls import ReadCalls
from .server._start_calls import StartCalls
from .server._uvicorn import ServerThread, listen
from .webhooks._deliveries import DELAYS, DeliveryLog, WebhookSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from types import TracebackType

    from starlette.types import ASGIApp


class Sandbox:
    """A local server of the Polyglot Voice API, in a thread of this process.

        with Sandbox(engine="scripted") as sandbox:
            client = AsyncPolyglot(api_key=sandbox.api_key, base_url=sandbox.url)

    Args:
        host: the address to listen on.
        port: 0 takes a free one.
        folder: where the state lives and survives a restart; None is a temporary folder, removed on close.
        engine: "pocketsphinx", "scripted", "module:Class" of an engine, or an Engine.
        plan: the limits of every account, by name (free, pro, unlimited) or as a Plan.
        faults: what goes wrong from the start; see Fault.
        webhook_url: of the default key; None leaves what the folder knows.
        webhook_delays: seconds before each further attempt to deliver a webhook.
        source_bytes_per_second: a cap on each connection that reads a source.
        now: returns Unix seconds, for limits by the calendar, keys that expire and times of tasks; tests move it.

    Attributes:
        url: the base URL for a client, "http://127.0.0.1:54321/api/v1"; set while it runs.
        root_url: likewise, without a path.
        api_key: a ready `sk_` key of the user "demo"; the same again for the same folder.
        webhook_secret: what this key's webhooks are signed with.
        folder: where the state lives.
        faults: add and clear faults here.
        ledger: every request that arrived.
        deliveries: every attempt to deliver a webhook.
    """

    folder: Path
    plan: Plan
    faults: Faults
    deliveries: DeliveryLog
    ledger: Ledger
    url: str
    root_url: str
    api_key: str
    webhook_secret: str

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        folder: Path | str | None = None,
        engine: str | Engine | ScriptedEngine = "pocketsphinx",
        plan: str | Plan = "pro",
        faults: Iterable[Fault | str] = (),
        webhook_url: str | None = None,
        webhook_delays: Sequence[float] = DELAYS,
        source_bytes_per_second: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._host, self._port = host, port
        self._temporary = folder is None
        self.folder = Path(tempfile.gettempdir() if folder is None else folder)
        self._given_folder = self.folder
        self._engine = choose_engine(engine)
        self.plan = Plan.named(plan) if isinstance(plan, str) else plan
        self.faults = Faults(faults)
        self._webhook_url, self._webhook_delays = webhook_url, tuple(webhook_delays)
        self._source_rate = source_bytes_per_second
        self._now = now
        self.ledger = Ledger(now)
        self.deliveries = DeliveryLog()
        self.url = self.root_url = self.api_key = self.webhook_secret = ""
        self._thread: ServerThread | None = None
        self._runner: TaskRunner | None = None
        self._recognisers: WorkerPool | None = None

    def start(self) -> Self:
        """Start serving; OSError if the port is taken, RuntimeError if the folder is."""
        if self._thread is not None:
            raise RuntimeError("the sandbox is running already")
        sock = listen(self._host, self._port)
        try:
            self._open_folder()
            host, port = sock.getsockname()[:2]
            self.root_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self.url = self.root_url + BASE
            self._thread = ServerThread(sock, self._resources())
            self._thread.start()
        except BaseException:
            sock.close()
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop serving, cut what is open, end the worker processes; a second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
        if hasattr(self, "_database"):
            self._database.close()
            self.ledger.close()
        if self._temporary and self.folder != self._given_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def create_key(
        self, *, user: str = "demo", expires_in: float = KEY_LIFETIME, webhook_url: str | None = None
    ) -> ApiKey:
        """Make one more `sk_` key, which lasts `expires_in` seconds (negative: already expired)."""
        return self._accounts.create_key(user=user, expires_in=expires_in, webhook_url=webhook_url)

    def set_webhook(self, url: str | None, api_key: str | None = None) -> None:
        """Set (or with None remove) the webhook URL of a key, the ready one unless another is given."""
        self._accounts.set_webhook(url, api_key or self.api_key)

    def session_token(self, *, user: str = "demo", expires_in: float = 3600) -> str:
        """Return a site session token (a JWT) of `user`, good everywhere."""
        return self._accounts.session_token(user=user, expires_in=expires_in)

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task of any user, as the API would answer it; LookupError if there is none."""
        task = self._store.get(task_id)
        if task is None:
            raise LookupError(f"no task {task_id}")
        return task.public()

    def put_source(
        self,
        data: bytes,
        task_id: str | None = None,
        *,
        name: str = "film.mp4",
        status: str = "completed",
        text: str | None = None,
        created_at: float | None = None,
        user: str = "demo",
    ) -> str:
        """Put a task with this source into the sandbox, as if it had been uploaded long ago, and return its id.

        It is no start of work: the ledger does not count it. An existing task keeps all but its source, of which
        downloads that are under way read the old bytes on.

        Args:
            data: the bytes that `/source` serves.
            task_id: an existing task, whose source is replaced; or the id of the new one (default: a new id).
            name: the file's name, of a new task.
            status: of a new task: queued, processing, completed, failed or cancelled. Nothing works on it.
            text: the transcript of a new task.
            created_at: Unix seconds, of a new task; default: now.
            user: whose task it is.
        """
        if status not in ACTIVE + FINAL:
            raise ValueError(f"status is one of {', '.join(ACTIVE + FINAL)}, not {status!r}")
        task = None if task_id is None else self._store.get(task_id)
        if task is None:
            at = self._now() if created_at is None else created_at
            task = StoredTask(user, at, at, task_id or str(uuid.uuid4()), file_name=name, status=status)
            task.transcript, task.segments = text, [{"start": 0.0, "end": 2.4, "text": text}] if text else []
        task.media, task.media_size, task.media_sha256 = task.task_id, len(data), hashlib.sha256(data).hexdigest()
        beside = self.folder / "incoming" / task.task_id
        beside.write_bytes(data)
        beside.replace(self.folder / "media" / task.task_id)
        (self.folder / "media" / f"{task.task_id}.transcoded").unlink(missing_ok=True)
        self._store.save(task)
        return task.task_id

    def cancel(self, task_id: str) -> None:
        """Cancel a task, as the user does on the site; LookupError if there is none that can be cancelled."""
        loop = self._thread.loop if self._thread is not None else None
        if loop is None or not asyncio.run_coroutine_threadsafe(self._cancel(task_id), loop).result():
            raise LookupError(f"no unfinished task {task_id}")

    def state(self) -> dict[str, Any]:
        """Return what `GET /_sandbox/state` answers."""
        return {
            "url": self.url,
            "folder": str(self.folder),
            "engine": self._engine if isinstance(self._engine, str) else type(self._engine).__name__,
            "rate_limits": self.plan.rate_limits(),
            "tasks": self._store.totals(),
            "requests": self.ledger.count(),
            "usage": self._limits.usage("demo"),
            "workers": self._recognisers.pids() if self._recognisers is not None else [],
        }

    def _open_folder(self) -> None:
        """Open what any thread may use."""
        if self._temporary:
            self.folder = Path(tempfile.mkdtemp(prefix="polyglot-sandbox-"))
        for part in ("media", "incoming"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self._database = Database(self.folder)
        for left in (self.folder / "incoming").iterdir():
            left.unlink()  # half an upload is no use after a restart
        self.ledger.open(self.folder / "ledger.jsonl")
        self._accounts = Accounts(self._database, self._now)
        self._store = TaskStore(self._database)
        self._limits = RequestLimits(self.plan, self._database, now=self._now)
        key = self._accounts.default_key()
        self.api_key, self.webhook_secret = key.secret_key, key.webhook_secret
        if self._webhook_url is not None:
            self.set_webhook(self._webhook_url)

    @contextlib.asynccontextmanager
    async def _resources(self) -> AsyncIterator[ASGIApp]:
        """Open what belongs to the server's loop."""
        outbound, background = OutboundClient(), BackgroundTasks()
        log = self.folder / "worker.log"
        recognisers = WorkerPool(self._engine if isinstance(self._engine, str) else None, log)
        tools = WorkerPool(None, log)
        self._recognisers = recognisers
        webhooks = WebhookSender(
            self._accounts, outbound, background, self.deliveries, now=self._now, delays=self._webhook_delays
        )
        self._runner = TaskRunner(
            store=self._store,
            media=self.folder / "media",
            engine=self._engine,
            plan=self.plan,
            workers=recognisers,
            outbound=outbound,
            background=background,
            on_final=webhooks.send,
            now=self._now,
        )
        try:
            self._runner.resume()
            yield self._app(self._runner, tools, outbound)
        finally:
            await background.close()
            await recognisers.close()
            await tools.close()
            await outbound.close()

    def _app(self, runner: TaskRunner, tools: WorkerPool, outbound: OutboundClient) -> ASGIApp:
        media, store, now = self.folder / "media", self._store, self._now
        start = StartCalls(self.plan, store, runner, tools, outbound, media, self.folder / "incoming", now)
        read = ReadCalls(self.plan, store, media, now, self._source_rate)
        api = Middleware(
            routes=api_routes(start, read),
            accounts=self._accounts,
            limits=self._limits,
            faults=self.faults,
            ledger=self.ledger,
            store=store,
            now=now,
        )
        control = ControlPages(
            ledger=self.ledger, faults=self.faults, deliveries=self.deliveries, runner=runner, state=self.state
        )
        return App(api, control)

    async def _cancel(self, task_id: str) -> bool:
        return self._runner is not None and self._runner.cancel(task_id) is not None
