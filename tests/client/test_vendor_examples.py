"""The examples of the vendor's own page run against the sandbox, with nothing but address and key replaced."""

import ast
import hashlib
import json
import subprocess
import sys

import pytest
from programs import require_program

CURL = r"""
curl -X POST "https://polyglotvoice.ru/api/v1/transcriptions/upload" \
  -H "Authorization: Bearer sk_..." \
  -F "file=@audio.mp3"
"""

REQUESTS = """
import requests
url = "https://polyglotvoice.ru/api/v1/transcriptions/upload"
headers = {"Authorization": "Bearer sk_..."}
files = {"file": open("audio.mp3", "rb")}
response = requests.post(url, headers=headers, files=files)
print(response.json())
"""

AUDIO = bytes(range(256)) * 1000


@pytest.fixture
def run(sandbox, tmp_path):
    """Runs an example beside a file named audio.mp3; returns what it prints."""
    (tmp_path / "audio.mp3").write_bytes(AUDIO)

    def run(command, example):
        example = example.replace("https://polyglotvoice.ru/api/v1", sandbox.url).replace("sk_...", sandbox.api_key)
        ended = subprocess.run([*command, example], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def check(answer, sandbox):
    [entry] = sandbox.ledger.entries()
    assert {"task_id": entry.task_id, "status": "queued"} == answer
    assert ("upload", 200, "audio.mp3") == (entry.call, entry.status, entry.file_name)
    assert hashlib.sha256(AUDIO).hexdigest() == entry.file_sha256


def test_the_curl_line_starts_a_task(run, sandbox):
    require_program("curl", "apt-get install curl")
    check(json.loads(run(["bash", "-c"], CURL)), sandbox)


def test_the_requests_snippet_starts_a_task(run, sandbox):
    check(ast.literal_eval(run([sys.executable, "-c"], REQUESTS)), sandbox)
