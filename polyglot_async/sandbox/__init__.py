"""A local server of the Polyglot Voice API, to try things on and to test against: no key, no network, no roubles.

It is written from the contract alone and shares no code with the client, so that one checks the other. It enforces the
limits, serves ranges, signs webhooks, transcribes real speech, goes wrong on request (`describe_faults()` says how) and
records every request. Translation it cannot do: a "translation" is the text behind a plain mark, `[ru] ...`. Needs the
extra `sandbox`.

    with Sandbox(engine="scripted", faults=["status call=upload status=502 when=after"]) as sandbox:
        ...  # use sandbox.url and sandbox.api_key
        assert sandbox.ledger.starts() == {sha256_of_the_file: 1}  # how often work was started: the judge of "once"
        assert sandbox.ledger.count("upload") == 1  # how many requests arrived
        assert sandbox.ledger.bodies("upload") == 1  # how many of their bodies arrived whole

Tests in other processes and languages use these pages, which ask for no credential and enter no ledger:

- `GET /_sandbox/starts`: `{"starts": {sha256 or url: count}, "total": n, "bodies": whole bodies of uploads}`
- `GET /_sandbox/ledger?call=&method=&status=&path=`, `DELETE /_sandbox/ledger`
- `GET`, `POST`, `DELETE /_sandbox/faults`: a fault as text or as a JSON object
- `GET /_sandbox/deliveries?task_id=`: attempts to deliver webhooks
- `GET /_sandbox/state`, `POST /_sandbox/tasks/{task_id}/cancel`
"""

from __future__ import annotations

from ._ledger import Ledger, LedgerEntry
from ._program import main, serve
from ._sandbox import Sandbox
from .engines._engine import Engine, Recognition, RecognitionError, ScriptedEngine, Utterance
from .faults._fault import Fault, Faults
from .faults._kinds import describe_faults
from .server._accounts import ApiKey
from .server._limits import Plan
from .webhooks._deliveries import DeliveryAttempt, DeliveryLog

__all__ = [
    "ApiKey",
    "DeliveryAttempt",
    "DeliveryLog",
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
    "Utterance",
    "describe_faults",
    "main",
    "serve",
]
