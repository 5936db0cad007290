"""A local server of the Polyglot Voice API, to try things on and to test against: no key, no network, no roubles.

It is written from the contract alone and shares no code with the client, so that it is an independent witness. It
enforces the limits, serves ranges, signs webhooks, transcribes real speech, misbehaves on request and remembers every
request.
Translation it cannot do: a "translation" is the text behind a plain mark, `[ru] ...`. Needs the extra `sandbox`.
"""

from __future__ import annotations

from ._accounts import ApiKey
from ._engines import Engine, Recognition, RecognitionError, ScriptedEngine, Segment
from ._faults import Fault, Faults
from ._ledger import Ledger, LedgerEntry
from ._plans import Plan
from ._sandbox import Sandbox
from ._serve import main, serve
from ._webhooks import Deliveries, Delivery

__all__ = [
    "ApiKey",
    "Deliveries",
    "Delivery",
    "Engine",
    "Fault",
    "Faults",
    "Ledger",
    "LedgerEntry",
    "Plan",
    "Recognition",
    "RecognitionError",
    "Sandbox",
    "ScriptedEngine",
    "Segment",
    "main",
    "serve",
]
