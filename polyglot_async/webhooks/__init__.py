"""Webhooks: verify a delivery, or run the whole receiver.

In any framework, sync or async, hand over the body as it came and the headers:

>>> event = webhooks.verify(await request.body(), request.headers, secret)

Or mount the receiver, a plain ASGI app, in FastAPI, Starlette or Litestar, or run it alone under uvicorn:

>>> app.mount("/polyglot", webhooks.WebhookReceiver(secret, on_event=store_transcript, path="/hook"))

What the signature protects: nobody without the secret can invent an event, or change one bit of it. What it does not:
as documented it covers **the body only**, and the timestamp stands in a header beside it. Whoever has seen a delivery
can send it again with a fresh timestamp. Checking freshness stops a lazy replay and no other. The remedy is to
deduplicate: the receiver keeps the events that it has handled, by task and status, in its `dedupe_store`. Nor does the
signature hide anything: use https.
"""

from __future__ import annotations

from .._api.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from .._errors import WebhookVerificationError
from .._models import WebhookEvent
from ._dedupe_store import DedupeState, DedupeStore, MemoryDedupeStore, SqliteDedupeStore
from ._explain import Explanation, explain
from ._receiver import WebhookReceiver
from ._verify import Headers, sign, verify

__all__ = [
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "DedupeState",
    "DedupeStore",
    "Explanation",
    "Headers",
    "MemoryDedupeStore",
    "SqliteDedupeStore",
    "WebhookEvent",
    "WebhookReceiver",
    "WebhookVerificationError",
    "explain",
    "sign",
    "verify",
]
