"""Uploads: what senders make of a multipart form, streamed to disk and never kept half."""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import threading
from urllib.parse import urlsplit

import pytest
from programs import require_program

from polyglot_async.sandbox import Plan

BOUNDARY = "b0undary"


def form(*parts: tuple[bytes, bytes], boundary: str = BOUNDARY, end: bytes = b"--\r\n") -> bytes:
    edge = f"--{boundary}".encode()
    body = b"".join(b"%s\r\n%s\r\n\r\n%s\r\n" % (edge, head, data) for head, data in parts)
    return body + edge + end


def post(api, body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}"):
    return api.post("/transcriptions/upload", content=body, headers={"Content-Type": content_type})


def head(file_name: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="file"; filename="%s"' % file_name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"plain.mp3", "plain.mp3"),
        (b"quo%22te.mp3", 'quo"te.mp3'),
        (b'quo\\"te.mp3', 'quo"te.mp3'),
        (b"line%0D%0Aend.mp3", "line\r\nend.mp3"),
        ("Привет; мир 🎧.mp3".encode(), "Привет; мир 🎧.mp3"),
        (b"100%25.mp3", "100%25.mp3"),
        (b"../../etc/passwd", "../../etc/passwd"),
        (("🎧" * 300).encode(), "🎧" * 300),
        (b"", ""),
        (b"\xff.mp3", "\ufffd.mp3"),
    ],
)
def test_names_are_kept_as_the_sender_gave_them(api, sandbox, sent, kept):
    """RFC 7578 section 4.2, with a quote and line ends percent-encoded as the WHATWG says; other escapes stay."""
    answer = post(api, form((head(sent), b"data")))
    assert answer.status_code == 200, answer.text
    assert sandbox.task(answer.json()["task_id"])["file_name"] == kept
    assert sandbox.ledger.entries(call="upload")[0].file_name == kept
    assert [path.name for path in (sandbox.folder / "media").iterdir()] == [answer.json()["task_id"]]


def test_the_extended_name_of_older_libraries(api, sandbox):
    disposition = b"Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%D0%9F.mp3"
    task_id = post(api, form((disposition, b"data"))).json()["task_id"]
    assert sandbox.task(task_id)["file_name"] == "П.mp3"


def test_options_may_stand_before_and_after_the_file(api, sandbox):
    field = b'Content-Disposition: form-data; name="%s"'
    body = form(
        (field % b"model", b"best"),
        (head(b"a"), b"x"),
        (field % b"output_language", b"ru"),
        (field % b"n\xc3\xa9", b"\xc3\xa9"),
    )
    task = sandbox.task(post(api, body).json()["task_id"])
    assert (task["model"], task["output_language"], task["extra"]) == ("best", "ru", {"né": "é"})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(), 422),
        (form((b'Content-Disposition: form-data; name="other"; filename="a"', b"x")), 422),
        (form((b'Content-Disposition: form-data; name="file"', b"text, no file")), 422),
        (form((head(b"a"), b"")), 400),
        (form((head(b"a"), b"x"), end=b""), 400),
        (form((b"Content-Type: audio/mpeg", b"x")), 400),
        (form((head(b"a"), b"x"), boundary="another"), 400),
        (b"", 400),
        (b"rubbish", 400),
        (form(*[(b'Content-Disposition: form-data; name="f"', b"")] * 200), 400),
        (form((b'Content-Disposition: form-data; name="f"', b"x" * 100_000)), 400),
    ],
)
def test_a_bad_form_is_refused_and_leaves_nothing(api, sandbox, body, status):
    answer = post(api, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert list((sandbox.folder / "incoming").iterdir()) == []
    assert api.get("/transcriptions").json()["total"] == 0


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=" + "b" * 300]
)
def test_another_content_type_is_refused(api, content_type):
    assert post(api, b"{}", content_type).status_code in {400, 422}


def test_what_looks_like_a_boundary_is_data(api):
    """The bytes come back exactly, whatever they resemble."""
    data = (f"\r\n--{BOUNDARY}".encode()[:-1] + b"\r\n\r\n--\r--\n" + bytes(range(256))) * 5000
    task_id = post(api, form((head(b"a"), data))).json()["task_id"]
    assert api.get(f"/transcriptions/{task_id}/source").content == data


def test_a_chunked_upload_has_no_length(sandbox, api):
    address = urlsplit(sandbox.url)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    body = form((head(b"a"), b"x" * 3_000_000))
    pieces = (body[at : at + 7919] for at in range(0, len(body), 7919))
    headers = {
        "Authorization": f"Bearer {sandbox.api_key}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    connection.request("POST", f"{address.path}/transcriptions/upload", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert sandbox.ledger.entries(call="upload")[0].file_size == 3_000_000


def test_too_large_is_cut_by_its_length_before_it_is_read(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(plan=Plan(max_upload_bytes=100_000))
    api = connect(sandbox)
    assert api.upload(b"x" * 100_000).status_code == 200
    answer = api.upload(b"x" * 1_000_000)
    assert answer.status_code == 413
    assert "max_upload_bytes" in answer.json()["detail"]
    assert sandbox.ledger.entries(status=413)[0].bytes_in == 0


def test_too_large_without_a_length_is_cut_while_streaming(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(plan=Plan(max_upload_bytes=100_000))
    body = form((head(b"a"), b"x" * 400_000))
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    pieces = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
    answer = connect(sandbox).post("/transcriptions/upload", content=pieces, headers=headers)
    assert answer.status_code == 413
    assert list((sandbox.folder / "incoming").iterdir()) == []


def test_curl_gets_its_refusal_without_sending_all(polyglot_sandbox_factory, tmp_path):
    """With `Expect: 100-continue` nothing of the body travels at all."""
    sandbox = polyglot_sandbox_factory(plan=Plan(max_upload_bytes=1000))
    (tmp_path / "big").write_bytes(bytes(20_000_000))
    command = [
        require_program("curl", "apt-get install curl"),
        "-s",
        "-w",
        "%{http_code} %{size_upload}",
        "-o",
        "/dev/null",
        "-F",
        "file=@big",
    ]
    command += ["-H", "Expect: 100-continue", "-H", f"Authorization: Bearer {sandbox.api_key}"]
    command.append(f"{sandbox.url}/transcriptions/upload")
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.stdout == "413 0"


def test_a_client_that_leaves_midway_leaves_no_file(sandbox, until):
    address = urlsplit(sandbox.url)
    for reset in (False, True):
        sandbox.ledger.clear()
        client = socket.create_connection((address.hostname, address.port))
        request = (
            f"POST {address.path}/transcriptions/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
            f"Authorization: Bearer {sandbox.api_key}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        ).encode()
        client.sendall(request + form((head(b"a"), b"x" * 2_000_000), end=b""))
        until(lambda: list((sandbox.folder / "incoming").iterdir()))
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        until(lambda: not list((sandbox.folder / "incoming").iterdir()))
        (entry,) = until(sandbox.ledger.entries)
        assert (entry.call, entry.status, entry.complete) == ("upload", None, False)


def test_many_uploads_at_once_do_not_mix(sandbox, connect):
    def send(number: int) -> None:
        data = bytes([number]) * (500_000 + number)
        task_id = connect(sandbox).start(data, f"{number}.mp3")
        source = connect(sandbox).get(f"/transcriptions/{task_id}/source").content
        assert hashlib.sha256(source).digest() == hashlib.sha256(data).digest()
        good.append(number)

    good: list[int] = []
    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(good) == list(range(16))
