"""Ranges from the sandbox and from nginx, which serve the same files: nginx is the reference for the sandbox (A7)."""

import random
import socket
import subprocess
import time

import httpx
import pytest
from programs import require_program

from polyglot_async import AsyncPolyglot, ResponseDecodeError
from polyglot_async.sandbox import Sandbox

DATA = random.Random(13).randbytes(20_500_001)
SIZE = len(DATA)

CONFIGURATION = """
daemon off; master_process off; worker_processes 1;
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; default_type video/mp4;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/transcriptions/([a-z]+)/source$ {{ alias {folder}/media/$1; }}
    location /closed/ {{ return 503; error_page 503 =200 /page.html; }}
    location = /page.html {{ internal; alias {folder}/page.html; default_type text/html; types {{ }} }}
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    """The base URL of an nginx that serves the sources `film` and `empty`."""
    program = require_program("nginx", "apt-get install nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "media").mkdir()
    (folder / "media" / "film").write_bytes(DATA)
    (folder / "media" / "empty").write_bytes(b"")
    (folder / "page.html").write_text("<!DOCTYPE html><html><title>Maintenance</title></html>")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port))
    running = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 10
        while not answers(port):
            assert running.poll() is None, running.stderr.read().decode()
            assert time.monotonic() < deadline, "nginx does not answer"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.communicate()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with Sandbox(engine="scripted", plan="unlimited", folder=tmp_path_factory.mktemp("sandbox")) as sandbox:
        for name, data in (("film", DATA), ("empty", b"")):
            sandbox.put_source(data, name, name=f"{name}.mp4")
        yield sandbox


@pytest.fixture(scope="module")
def clients(nginx, sandbox):
    headers = {"authorization": f"Bearer {sandbox.api_key}", "accept-encoding": "identity"}
    with httpx.Client(base_url=nginx) as one, httpx.Client(base_url=sandbox.url, headers=headers) as other:
        yield one, other


WHOLE = (200, None, 0, SIZE)
UNSATISFIABLE = (416, f"bytes */{SIZE}", 0, 0)


def part(start, stop):
    return 206, f"bytes {start}-{stop - 1}/{SIZE}", start, stop


# Range, If-Range -> status, Content-Range, and the bytes from where to where.
TABLE = [
    (None, None, WHOLE),
    ("bytes=0-0", None, part(0, 1)),
    ("bytes=0-99", None, part(0, 100)),
    ("bytes=100-", None, part(100, SIZE)),
    ("bytes=0-", None, part(0, SIZE)),
    ("bytes=-1", None, part(SIZE - 1, SIZE)),
    ("bytes=-100", None, part(SIZE - 100, SIZE)),
    (f"bytes={SIZE - 1}-", None, part(SIZE - 1, SIZE)),
    (f"bytes=5-{SIZE - 1}", None, part(5, SIZE)),
    (f"bytes=5-{SIZE}", None, part(5, SIZE)),
    (f"bytes=5-{SIZE * 9}", None, part(5, SIZE)),
    (f"bytes=-{SIZE}", None, part(0, SIZE)),
    (f"bytes=-{SIZE + 1}", None, part(0, SIZE)),
    ("BYTES=1-2", None, part(1, 3)),
    ("bytes= 1-2", None, part(1, 3)),
    ("bytes=1 - 2", None, part(1, 3)),
    ("bytes=0001-0002", None, part(1, 3)),
    (f"bytes={SIZE}-", None, UNSATISFIABLE),
    (f"bytes={SIZE}-{SIZE + 5}", None, UNSATISFIABLE),
    ("bytes=-0", None, UNSATISFIABLE),
    ("bytes=9-5", None, UNSATISFIABLE),
    ("bytes=-", None, UNSATISFIABLE),
    ("bytes=a-b", None, UNSATISFIABLE),
    ("bytes=1", None, UNSATISFIABLE),
    ("bytes=1-2-3", None, UNSATISFIABLE),
    ("bytes=1.5-2", None, UNSATISFIABLE),
    ("bytes=+1-2", None, UNSATISFIABLE),
    (f"bytes=0-{10**18}", None, part(0, SIZE)),
    (f"bytes={10**30}-", None, UNSATISFIABLE),
    ("bytes=", None, WHOLE),
    ("bytes", None, WHOLE),
    ("items=0-5", None, WHOLE),
    ("0-5", None, WHOLE),
    ("", None, WHOLE),
    ("bytes=10-19", "{etag}", part(10, 20)),
    ("bytes=10-19", "{modified}", part(10, 20)),
    ("bytes=10-19", '"another"', WHOLE),
    ("bytes=10-19", "W/{etag}", WHOLE),
    ("bytes=10-19", "Sun, 24 May 2015 12:00:00 GMT", WHOLE),
    ("bytes=10-19", "Sun, 24 May 2099 12:00:00 GMT", WHOLE),
    ("bytes=10-19", "nonsense", WHOLE),
    (f"bytes={SIZE}-", '"another"', WHOLE),
    (f"bytes={SIZE}-", "{etag}", UNSATISFIABLE),
    (None, "{etag}", WHOLE),
]


def ask(client, name, wanted, if_range):
    path = f"transcriptions/{name}/source"
    known = client.head(path).headers if client.base_url.path == "/" else client.get(path).headers
    values = {"range": wanted, "if-range": if_range}
    values = {key: value for key, value in values.items() if value is not None}
    filled = {
        key: value.replace("{etag}", known["etag"]).replace("{modified}", known["last-modified"])
        for key, value in values.items()
    }
    return client.get(path, headers=filled)


@pytest.mark.parametrize(("wanted", "if_range", "expected"), TABLE)
@pytest.mark.parametrize("which", [0, 1], ids=["nginx", "sandbox"])
def test_a_range_is_answered_as_in_the_table(clients, which, wanted, if_range, expected):
    status, content_range, start, stop = expected
    answer = ask(clients[which], "film", wanted, if_range)
    assert (status, content_range) == (answer.status_code, answer.headers.get("content-range"))
    if status != 416:
        assert DATA[start:stop] == answer.content
        assert str(stop - start) == answer.headers["content-length"]


@pytest.mark.parametrize(
    ("wanted", "status"),
    [(None, 200), ("bytes=0-", 200), ("bytes=0-5", 200), ("bytes=-5", 200), ("bytes=5-", 416), ("bytes=5-9", 416)],
)
@pytest.mark.parametrize("which", [0, 1], ids=["nginx", "sandbox"])
def test_a_range_of_an_empty_file_is_ignored_if_it_begins_at_its_start(clients, which, wanted, status):
    answer = ask(clients[which], "empty", wanted, None)
    assert (status, "bytes */0" if status == 416 else None) == (answer.status_code, answer.headers.get("content-range"))
    assert status == 416 or (b"", "0") == (answer.content, answer.headers["content-length"])


@pytest.mark.parametrize("which", [0, 1], ids=["nginx", "sandbox"])
def test_several_ranges_are_answered_with_one_of_the_ways_that_the_rfc_allows(clients, which):
    """RFC 9110, section 14.2: a server may ignore them (the sandbox does) or send them as multipart (nginx does)."""
    answer = ask(clients[which], "film", "bytes=0-9,20-29", None)
    assert answer.status_code in {200, 206}
    if answer.status_code == 206:
        assert answer.headers["content-type"].startswith("multipart/byteranges")
    else:
        assert DATA == answer.content


@pytest.mark.anyio
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("name", ["film", "empty"])
async def test_the_sdk_downloads_from_nginx(nginx, tmp_path, connections, name):
    async with AsyncPolyglot("sk_any", base_url=nginx) as client:
        path = await client.transcriptions.download_source(name, tmp_path / "film.mp4", connections=connections)
        assert (DATA if name == "film" else b"") == path.read_bytes()
        assert [path] == list(tmp_path.iterdir())
        async with client.transcriptions.open_source(name) as media:
            assert (DATA if name == "film" else b"")[-10:] == await media.read_at(max(0, media.size - 10), 10)


@pytest.mark.anyio
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("call", ["source", "srt"])
async def test_a_maintenance_page_is_no_file_though_nginx_sends_it_as_a_range_with_an_etag(
    nginx, tmp_path, connections, call
):
    target = tmp_path / "film.mp4"
    target.write_bytes(b"the user's own")
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{nginx}/closed/transcriptions/film/source", headers={"range": "bytes=0-"})
    assert 206 == answer.status_code
    assert "etag" in answer.headers
    async with AsyncPolyglot("sk_test", base_url=f"{nginx}/closed", max_retries=0) as client:
        calls = client.transcriptions
        with pytest.raises(ResponseDecodeError, match=r'a web page, "Maintenance".*check base_url'):
            if call == "source":
                await calls.download_source("film", target, connections=connections)
            else:
                await calls.download("film", call, target)
    assert b"the user's own" == target.read_bytes()
    assert [target] == list(tmp_path.iterdir())
