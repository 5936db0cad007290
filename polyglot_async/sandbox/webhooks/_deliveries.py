"""POSTs to a key's webhook URL when a task has reached a final status (contract: "Webhook").

The signature is the lower-case hex HMAC-SHA256 of the raw body, and of the body only, with the key's webhook secret
(A8, A9); the timestamp is Unix seconds. What is not answered with a 2xx is sent again after each of DELAYS.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._background import BackgroundTasks
    from .._outbound import OutboundClient
    from .._storage import StoredTask
    from ..server._accounts import Accounts, ApiKey

DELAYS = (0.2, 1.0, 5.0, 15.0)
"""Seconds before each further attempt."""
TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt to deliver a webhook: `status` is the receiver's, or None and `error` says what went wrong."""

    task_id: str
    url: str
    event: str
    attempt: int
    at: float
    status: int | None
    error: str | None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and httpx.codes.is_success(self.status)


class DeliveryLog:
    """Every attempt made so far; any thread may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: list[DeliveryAttempt] = []

    def add(self, attempt: DeliveryAttempt) -> None:
        """Add an attempt."""
        with self._lock:
            self._attempts.append(attempt)

    def attempts(self, task_id: str | None = None) -> list[DeliveryAttempt]:
        """Return the attempts, oldest first, for one task or for all."""
        with self._lock:
            return [attempt for attempt in self._attempts if task_id in {None, attempt.task_id}]


class WebhookSender:
    """Sends webhooks, in the background."""

    def __init__(
        self,
        accounts: Accounts,
        outbound: OutboundClient,
        background: BackgroundTasks,
        deliveries: DeliveryLog,
        *,
        now: Callable[[], float],
        delays: Sequence[float] = DELAYS,
    ) -> None:
        self._accounts, self._outbound, self._background = accounts, outbound, background
        self._deliveries, self._now, self._delays = deliveries, now, delays

    def send(self, task: StoredTask) -> None:
        """Send the webhook of a task that has reached a final status, if its key wants one."""
        key = self._accounts.key(task.key_id) if task.key_id is not None else None
        if key is not None and key.webhook_url is not None:
            self._background.start(self._deliver(key, key.webhook_url, task))

    async def _deliver(self, key: ApiKey, url: str, task: StoredTask) -> None:
        event = f"transcription.{task.status}"
        body = _body(event, task)
        for attempt, delay in enumerate((0.0, *self._delays), 1):
            await asyncio.sleep(delay)
            at = self._now()
            status, error = await self._post(url, body, key.webhook_secret, int(at))
            delivery = DeliveryAttempt(task.task_id, url, event, attempt, at, status, error)
            self._deliveries.add(delivery)
            if delivery.delivered:
                return

    async def _post(self, url: str, body: bytes, secret: str, timestamp: int) -> tuple[int | None, str | None]:
        headers = {
            "Content-Type": "application/json",
            "X-Polyglot-Timestamp": str(timestamp),
            "X-Polyglot-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        client = await self._outbound.client()
        try:
            response = await client.post(url, content=body, headers=headers, timeout=TIMEOUT, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return None, f"{type(problem).__name__}: {problem}"
        return response.status_code, None


def _body(event: str, task: StoredTask) -> bytes:
    document = {
        "event": event,
        "task_id": task.task_id,
        "status": task.status,
        "model": task.model,
        "failure_reason": task.failure_reason,
        "has_transcript": task.transcript is not None,
        "has_translation": task.translation is not None,
        "transcript_preview": task.preview,
    }
    return json.dumps(document, ensure_ascii=False).encode()
