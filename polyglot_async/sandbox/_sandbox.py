"""The sandbox itself: puts the rooms together and owns their lifetimes; holds no logic of the API."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ._accounts import KEY_LIFETIME, Accounts, ApiKey
from ._app import BASE, App, api_routes
from ._background import Background
from ._control import Control
from ._database import Database
from ._engines import Engine, ScriptedEngine, choose_engine
from ._faults import Fault, Faults
from ._gate import Gate
from ._ledger import Ledger
from ._limits import Limiter
from ._outbound import Outbound
from ._plans import Plan
from ._runner import Runner
from ._server import ServerThread
from ._services import Services
from ._tasks import TaskStore
from ._webhooks import DELAYS, Deliveries, Webhooks
from ._workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
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
        faults: what goes wrong from the start.
        webhook_url: of the default key; None leaves what the folder knows.
        webhook_delays: seconds before each further attempt to deliver a webhook.
        source_bytes_per_second: a cap on each connection that reads a source.

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
    deliveries: Deliveries
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
        self.deliveries = Deliveries()
        self.url = self.root_url = self.api_key = self.webhook_secret = ""
        self._thread: ServerThread | None = None
        self._runner: Runner | None = None
        self._recognisers: Workers | None = None

    def start(self) -> Self:
        """Start serving; OSError if the port is taken, RuntimeError if the folder is."""
        if self._thread is not None:
            raise RuntimeError("the sandbox is running already")
        sock = _listen(self._host, self._port)
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
        """A site session token (a JWT) of `user`, good everywhere."""
        return self._accounts.session_token(user=user, expires_in=expires_in)

    def task(self, task_id: str) -> dict[str, Any]:
        """A task of any user, as the API would answer it; LookupError if there is none."""
        task = self._store.get(task_id)
        if task is None:
            raise LookupError(f"no task {task_id}")
        return task.public()

    def cancel(self, task_id: str) -> None:
        """Cancel a task, as the user does on the site; LookupError if there is none that can be cancelled."""
        loop = self._thread.loop if self._thread is not None else None
        if loop is None or not asyncio.run_coroutine_threadsafe(self._cancel(task_id), loop).result():
            raise LookupError(f"no unfinished task {task_id}")

    def state(self) -> dict[str, Any]:
        """What `GET /_sandbox/state` answers."""
        return {
            "url": self.url,
            "folder": str(self.folder),
            "engine": self._engine if isinstance(self._engine, str) else type(self._engine).__name__,
            "rate_limits": self.plan.rate_limits(),
            "tasks": self._store.totals(),
            "requests": self.ledger.count(),
            "usage": self._limiter.usage("demo"),
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
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        self._accounts = Accounts(self._database)
        self._store = TaskStore(self._database)
        self._limiter = Limiter(self.plan, self._database)
        key = self._accounts.default_key()
        self.api_key, self.webhook_secret = key.secret_key, key.webhook_secret
        if self._webhook_url is not None:
            self.set_webhook(self._webhook_url)

    @contextlib.asynccontextmanager
    async def _resources(self) -> AsyncIterator[ASGIApp]:
        """Open what belongs to the server's loop."""
        outbound, background = Outbound(), Background()
        log = self.folder / "worker.log"
        recognisers = Workers(self._engine if isinstance(self._engine, str) else None, log)
        tools = Workers(None, log)
        self._recognisers = recognisers
        webhooks = Webhooks(self._accounts, outbound, background, self.deliveries, delays=self._webhook_delays)
        self._runner = Runner(
            store=self._store,
            media=self.folder / "media",
            engine=self._engine,
            plan=self.plan,
            workers=recognisers,
            outbound=outbound,
            background=background,
            announce=webhooks.announce,
        )
        try:
            self._runner.resume()
            yield self._app(self._runner, tools, outbound)
        finally:
            await background.close()
            await recognisers.close()
            await tools.close()
            await outbound.close()

    def _app(self, runner: Runner, tools: Workers, outbound: Outbound) -> ASGIApp:
        services = Services(
            plan=self.plan,
            store=self._store,
            runner=runner,
            tools=tools,
            outbound=outbound,
            media=self.folder / "media",
            incoming=self.folder / "incoming",
            source_bytes_per_second=self._source_rate,
        )
        gate = Gate(
            api_routes(services),
            accounts=self._accounts,
            limiter=self._limiter,
            faults=self.faults,
            ledger=self.ledger,
        )
        control = Control(
            ledger=self.ledger, faults=self.faults, deliveries=self.deliveries, runner=runner, state=self.state
        )
        return App(gate, control)

    async def _cancel(self, task_id: str) -> bool:
        return self._runner is not None and self._runner.cancel(task_id) is not None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, for asyncio sets TCP_NODELAY on nothing less: without it each answer waits 40 ms for an ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
