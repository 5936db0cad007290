"""One room a command, named like it; each has a click command called `command`.

To add a command, add its room here and its name to `NAMES`, which is the order in the help.
"""

from __future__ import annotations

NAMES = (
    "demo",
    "transcribe",
    "journal",
    "list",
    "get",
    "result",
    "download",
    "source",
    "convert",
    "validate-url",
    "limits",
    "listen",
    "webhook",
    "sandbox",
)
