"""The ten calls, as the contract documents them, over a real socket."""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import threading

import pytest
from programs import require_program

from polyglot_async.sandbox import ScriptedEngine, Utterance

TASK = "/transcriptions/9b9c1b9a-0000-0000-0000-000000000000"


@pytest.fixture
def media_site(tmp_path):
    """A site on the network with media, a page and a hole."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "talk.mp3").write_bytes(b"media " * 1000)
    (tmp_path / "site" / "page.html").write_text("<html>")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "site"))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_upload_answers_the_task_id_and_queued(api):
    answer = api.upload()
    assert answer.status_code == 200
    assert answer.json().keys() == {"task_id", "status"}
    assert answer.json()["status"] == "queued"


def test_the_vendors_curl_line_works(sandbox, tmp_path):
    """Address and key aside, the line of the vendor's page is unchanged."""
    (tmp_path / "audio.mp3").write_bytes(b"media")
    require_program("curl", "apt-get install curl")
    line = f'curl -s -X POST "{sandbox.url}/transcriptions/upload" -H "Authorization: Bearer {sandbox.api_key}" '
    line += '-F "file=@audio.mp3"'
    answer = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r'\{"task_id":"[0-9a-f-]{36}","status":"queued"\}', answer.stdout)


def test_a_task_is_described_as_documented(api):
    task_id = api.start(output_language="ru", colour="blue")
    task = api.finished(task_id)
    documented = {
        "task_id": task_id,
        "status": "completed",
        "model": "fast",
        "input_language": "en",
        "output_language": "ru",
        "audio_duration_seconds": 2.4,
        "confidence": 0.94,
        "transcript_preview": "This is a scripted transcript of a.mp3.",
        "failure_reason": None,
        "file_name": "a.mp3",
        "extra": {"colour": "blue"},
    }
    assert documented.items() <= task.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", task["created_at"])


def test_a_result_holds_transcript_translation_and_segments(polyglot_sandbox_factory, connect):
    """The translation is the text behind a plain mark: the sandbox cannot translate."""
    utterances = (Utterance(0.0, 2.4, "Hello,", 0.9), Utterance(2.4, 3.0, "world."))
    api = connect(polyglot_sandbox_factory(engine=ScriptedEngine(utterances=utterances)))
    task_id = api.start(output_language="de")
    api.finished(task_id)
    result = api.get(f"/transcriptions/{task_id}/result").json()
    assert result.keys() == {"task_id", "transcript", "translation", "confidence", "segments", "updated_at"}
    assert result["transcript"] == "Hello, world."
    assert result["translation"] == "[de] Hello, world."
    assert result["segments"][1] == {"start": 2.4, "end": 3.0, "text": "world."}


def test_no_translation_into_the_same_language(api):
    task_id = api.start(output_language="en")
    api.finished(task_id)
    assert api.get(f"/transcriptions/{task_id}/result").json()["translation"] is None


def test_an_unfinished_task_has_no_result(polyglot_sandbox_factory, connect):
    """A5: 409 with a detail."""
    api = connect(polyglot_sandbox_factory(engine=ScriptedEngine(seconds=60)))
    task_id = api.start()
    for path in ("result", "downloads/srt"):
        answer = api.get(f"/transcriptions/{task_id}/{path}")
        assert answer.status_code == 409
        assert "processing" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("srt", "1\n00:00:00,000 --> 00:00:02,400\nHello,\n\n2\n00:00:02,400 --> 01:02:03,004\nщит.\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\nHello,\n\n00:00:02.400 --> 01:02:03.004\nщит.\n"),
        ("txt", "Hello, щит.\n"),
    ],
)
def test_downloads_of_text(polyglot_sandbox_factory, connect, kind, expected):
    utterances = (Utterance(0.0, 2.4, "Hello,"), Utterance(2.4, 3723.004, "щит."))
    api = connect(polyglot_sandbox_factory(engine=ScriptedEngine(utterances=utterances)))
    task_id = api.start(name='му"зыка.mp3')
    api.finished(task_id)
    answer = api.get(f"/transcriptions/{task_id}/downloads/{kind}")
    assert answer.text == expected
    assert f"_____.{kind}" not in answer.headers["content-disposition"].partition("filename*")[2]
    assert answer.headers["content-disposition"].endswith(f"UTF-8''%D0%BC%D1%83%22%D0%B7%D1%8B%D0%BA%D0%B0.{kind}")


def test_download_of_json_is_the_result(api):
    task_id = api.start()
    api.finished(task_id)
    result = api.get(f"/transcriptions/{task_id}/result").json()
    assert api.get(f"/transcriptions/{task_id}/downloads/json").json() == result
    assert api.get(f"/transcriptions/{task_id}/downloads/docx").status_code == 404


def test_the_list_is_newest_first_and_paged(api):
    started = [api.start(name=f"{number}.mp3") for number in range(25)]
    first = api.get("/transcriptions").json()
    assert [task["task_id"] for task in first["items"]] == started[:4:-1]
    assert (first["total"], first["limit"], first["offset"]) == (25, 20, 0)
    rest = api.get("/transcriptions", params={"limit": 100, "offset": 20}).json()
    assert [task["task_id"] for task in rest["items"]] == started[4::-1]


def test_the_list_filters_by_status(polyglot_sandbox_factory, connect):
    engine = ScriptedEngine(fail=lambda name, size: "No." if name == "bad.mp3" else None)
    api = connect(polyglot_sandbox_factory(engine=engine))
    bad = api.start(name="bad.mp3")
    good = api.start(name="good.mp3")
    assert api.finished(bad)["failure_reason"] == "No."
    api.finished(good)
    listed = api.get("/transcriptions", params={"status": "failed"}).json()
    assert ([task["task_id"] for task in listed["items"]], listed["total"]) == ([bad], 1)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=²", "offset=-1", "status=odd", "offset=" + "9" * 9999]
)
def test_a_wrong_query_is_422_with_a_list(api, query):
    """A15: a validation error is a list of places and messages."""
    answer = api.get(f"/transcriptions?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", query.partition("=")[0]]


def test_from_url_fetches_the_media(api, media_site):
    answer = api.post("/transcriptions/from-url", json={"url": f"{media_site}/talk.mp3", "model": "best", "x": 1})
    assert answer.json()["status"] == "queued"
    task_id = answer.json()["task_id"]
    task = api.finished(task_id)
    assert (task["status"], task["model"], task["file_name"], task["extra"]) == (
        "completed",
        "best",
        "talk.mp3",
        {"x": 1},
    )
    assert api.get(f"/transcriptions/{task_id}/source").content == b"media " * 1000


def test_validate_url_says_that_media_is_usable(api, media_site):
    answer = api.post("/transcriptions/validate-url", json={"url": f"{media_site}/talk.mp3"})
    assert answer.status_code == 200
    assert {"valid": True, "content_type": "audio/mpeg", "size": 6000}.items() <= answer.json().items()


@pytest.mark.parametrize("call", ["from-url", "validate-url"])
@pytest.mark.parametrize(
    "url", ["{site}/page.html", "{site}/none.mp3", "http://127.0.0.1:9/a.mp3", "ftp://a/b", "no", "http://["]
)
def test_an_unusable_url_is_400(api, media_site, call, url):
    """A3: 400 with the reason."""
    answer = api.post(f"/transcriptions/{call}", json={"url": url.format(site=media_site)})
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"url": 5}', b"[" * 100_000, b"\xff", b'{"url": "\\ud800"}', b'{"url": "u", "x": NaN}'],
)
def test_a_body_that_names_no_url_is_422(api, body):
    assert api.post("/transcriptions/from-url", content=body).status_code == 422


@pytest.mark.parametrize("credential", [None, "sk_unknown", "a.b.c", "sk_é", "é.é.é"])
def test_without_a_credential_nothing_is_given(sandbox, connect, credential):
    api = connect(sandbox, None)
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}".encode()}
    answer = api.get("/transcriptions", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid token."})


def test_expired_credentials_say_so(sandbox, connect):
    for secret in (sandbox.create_key(expires_in=-1).secret_key, sandbox.session_token(expires_in=-1)):
        answer = connect(sandbox, secret).get("/transcriptions")
        assert (answer.status_code, answer.json()) == (401, {"detail": "Token expired."})


def test_a_session_token_works_and_a_forged_one_does_not(sandbox, connect):
    token = sandbox.session_token()
    assert connect(sandbox, token).get("/transcriptions").status_code == 200
    assert connect(sandbox, token[:-3] + "AAA").get("/transcriptions").status_code == 401


def test_another_users_task_does_not_exist(sandbox, api, connect):
    task_id = api.start()
    stranger = connect(sandbox, sandbox.create_key(user="eve").secret_key)
    assert stranger.get(f"/transcriptions/{task_id}").status_code == 404
    assert stranger.get(f"/transcriptions/{task_id}/source").status_code == 404
    assert stranger.get("/transcriptions").json()["total"] == 0
    assert connect(sandbox, sandbox.session_token()).get(f"/transcriptions/{task_id}").status_code == 200


def test_the_documentation_is_for_anybody_but_a_key(polyglot_sandbox_factory, connect):
    """A10 and A16: exactly the documented shape."""
    sandbox = polyglot_sandbox_factory(plan="pro")
    assert connect(sandbox).get("/developer/documentation").status_code == 403
    assert connect(sandbox, sandbox.session_token()).get("/developer/documentation").status_code == 200
    assert connect(sandbox, None).get("/developer/documentation").json() == {
        "rate_limits": {
            "burst": {"requests_per_minute": 60, "uploads_per_minute": 10},
            "api_keys": {"requests_per_day": 5000, "requests_per_month": 100000},
            "plan": {
                "name": "pro",
                "max_concurrent_tasks": 3,
                "max_upload_bytes": 2147483648,
                "max_audio_seconds": 14400,
            },
        }
    }


@pytest.mark.parametrize("path", [TASK, f"{TASK}/result", f"{TASK}/downloads/srt", f"{TASK}/source", "/nothing"])
def test_what_is_not_there_is_404(api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_the_wrong_method_is_405(api):
    answer = api.delete(TASK)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method not allowed."})


def test_every_answer_carries_its_own_request_id(api, sandbox, connect):
    answers = [api.get("/transcriptions"), api.get("/nothing"), api.delete(TASK), connect(sandbox, None).get(TASK)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4


def test_a_cancelled_task(polyglot_sandbox_factory, connect):
    """The user cancels on the site; for a test the sandbox has an address for it."""
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=60))
    api = connect(sandbox)
    first, second = api.start(), api.start()
    assert api.post(f"{sandbox.root_url}/_sandbox/tasks/{first}/cancel").json()["status"] == "cancelled"
    sandbox.cancel(second)
    assert api.get(f"/transcriptions/{second}").json()["status"] == "cancelled"
    assert sandbox.task(first)["status"] == "cancelled"
    with pytest.raises(LookupError):
        sandbox.cancel(second)
    assert api.post(f"{sandbox.root_url}/_sandbox/tasks/{first}/cancel").status_code == 404


def test_the_ledger_knows_what_arrived(sandbox, api):
    data = bytes(range(256)) * 999
    task_id = api.start(data, "é.mp3")
    (entry,) = sandbox.ledger.entries(call="upload")
    assert (entry.file_name, entry.file_size, entry.task_id) == ("é.mp3", len(data), task_id)
    assert entry.file_sha256 == hashlib.sha256(data).hexdigest()
    assert (entry.user, entry.credential, entry.status, entry.complete) == ("demo", "key", 200, True)
    assert entry.bytes_in > len(data)
