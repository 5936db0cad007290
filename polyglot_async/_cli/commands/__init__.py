"""One module a command, named like it; each has a click command called `command`.

To add a command, add its module here and its line to `COMMANDS`, which is the list in the help of `polyglot`.
"""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "demo": "Transcribe a recording with a local server: no key, no network.",
    "transcribe": "Transcribe files, folders and URLs.",
    "journal": "Show what a journal knows of a batch.",
    "list": "List tasks, newest first.",
    "get": "Show one task.",
    "result": "Show or save a transcript.",
    "download": "Download a result file, such as subtitles.",
    "source": "Download the media that a task was made from.",
    "convert": "Convert audio to another format.",
    "validate-url": "Check whether the service can use a media URL.",
    "limits": "Show account limits.",
    "listen": "Receive webhooks, verify them and print the events.",
    "webhook": "Find out why a webhook's signature fails.",
    "sandbox": "Run a local server of the API to develop against.",
}
