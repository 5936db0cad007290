"""Webhooks, received as they should be: verify a delivery, or run the whole receiver.

In any framework, sync or async, hand over the body as it came and the headers:

>>> event = webhooks.verify(await request.body(), request.headers, secret)

Or mount the receiver, a plain ASGI app, in FastAPI, Starlette or Litestar, or run it alone under uvicorn:

>>> app.mount("/polyglot", webhooks.WebhookReceiver(secret, on_event=store_transcript, path="/hook"))

What the signature protects: nobody without the secret can invent an event, or change one bit of it. What it does not:
as documented it covers **the body only**, and the timestamp stands in a header beside it. Whoever has seen a delivery
can send it again with a fresh timestamp. Checking freshness stops a lazy replay and no other. The remedy is to remember
what was seen: the receiver does so in its `seen` store, for each task and status. Nor does the signature hide
anything: use https.
"""

from __future__ import annotations

from .._api.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from .._errors import WebhookVerificationError
from .._models import WebhookEvent
from ._dedupe_store import Claim, MemorySeenStore, SeenStore, SqliteSeenStore
from ._explain import Explanation, explain
from ._receiver import WebhookReceiver
from ._verify import Headers, sign, verify

__all__ = [
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "Claim",
    "Explanation",
    "Headers",
    "MemorySeenStore",
    "SeenStore",
    "SqliteSeenStore",
    "WebhookEvent",
    "WebhookReceiver",
    "WebhookVerificationError",
    "explain",
    "sign",
    "verify",
]
