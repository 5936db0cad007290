"""A server of files and pages over a real socket, and the libraries that people fetch them with."""

import contextlib
import gzip
import http.server
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import httpx
import pytest
import requests
import urllib3

MEDIA = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(256)) * 800
PATHS = {
    "/media/a%20talk.wav": (200, {"Content-Type": "audio/wav"}, MEDIA),
    "/untyped": (200, {}, MEDIA),
    "/named": (200, {"content-disposition": 'attachment; filename="../call.mp3"', "Content-Type": "audio/mpeg"}, MEDIA),
    "/short.wav": (200, {"Content-Length": str(len(MEDIA) + 5)}, MEDIA),
    "/gzip/talk.wav": (200, {"Content-Encoding": "gzip"}, gzip.compress(MEDIA)),
    "/empty.wav": (200, {"Content-Type": "audio/wav"}, b""),
    "/missing.wav": (404, {"Content-Type": "audio/wav"}, MEDIA),
    "/forbidden.wav": (403, {"Content-Type": "text/html"}, b"<html>Forbidden</html>"),
    "/broken.wav": (502, {}, b"Bad gateway"),
    "/moved.wav": (302, {"Location": "/media/a%20talk.wav"}, b"Moved"),
    "/sign-in.wav": (200, {"Content-Type": "Text/HTML; charset=utf-8"}, b"<!DOCTYPE html><p>Sign in</p>"),
    "/error.wav": (200, {"Content-Type": "application/json"}, b'{"error": "expired"}'),
    "/problem.wav": (200, {"Content-Type": "application/problem+json"}, b'{"title": "expired"}'),
    "/untyped-page.wav": (200, {}, b"\n<!DOCTYPE html><p>Sign in</p>"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status, headers, body = PATHS[self.path.partition("?")[0]]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body)), "Connection": "close"} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        """Keep the output of the tests clean."""


@pytest.fixture
def served():
    """Return the bytes of the server's audio file."""
    return MEDIA


@pytest.fixture(scope="session")
def file_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://user:password@127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.asynccontextmanager
async def by_httpx(url):
    async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", url) as response:
        yield response


@contextlib.asynccontextmanager
async def by_httpx_read_whole(url):
    async with httpx.AsyncClient(trust_env=False) as client:
        yield await client.get(url)


@contextlib.asynccontextmanager
async def by_httpx_sync(url):
    with httpx.Client(trust_env=False) as client, client.stream("GET", url) as response:  # noqa: ASYNC212
        yield response


@contextlib.asynccontextmanager
async def by_requests(url):
    with requests.Session() as session:
        session.trust_env = False
        with session.get(url, stream=True, allow_redirects=False) as response:
            yield response


@contextlib.asynccontextmanager
async def by_requests_raw(url):
    async with by_requests(url) as response:
        yield response.raw


@contextlib.asynccontextmanager
async def by_urllib3(url):
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", url, preload_content=False, redirect=False, retries=False)
        yield response
        response.close()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


@contextlib.asynccontextmanager
async def by_urllib(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
    try:
        response = opener.open(url.replace("user:password@", ""))
    except urllib.error.HTTPError as error:
        response = error
    with response:
        yield response


class AiohttpResponse:
    """What `aiohttp.ClientResponse` offers of what is used here, for where aiohttp is not installed."""

    def __init__(self, response):
        self.status, self.url, self.headers = response.status_code, response.url, response.headers
        self.content = SimpleNamespace(iter_chunked=self._iter_chunked)
        self._response = response

    async def read(self):
        return b"".join([chunk async for chunk in self._response.aiter_bytes()])

    async def _iter_chunked(self, size):
        async for chunk in self._response.aiter_bytes():
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size]


@contextlib.asynccontextmanager
async def by_aiohttp_look_alike(url):
    async with by_httpx(url) as response:
        yield AiohttpResponse(response)


@contextlib.asynccontextmanager
async def by_aiohttp(url):
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install aiohttp")
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
        yield response


LIBRARIES = {
    function.__name__.removeprefix("by_"): function
    for function in (by_httpx, by_httpx_read_whole, by_httpx_sync, by_requests, by_requests_raw, by_urllib3, by_urllib,
                     by_aiohttp_look_alike, by_aiohttp)
}  # fmt: skip


@pytest.fixture(params=LIBRARIES)
def fetch(request, file_server, anyio_backend_name):
    """Return a function that opens a path of the server with one of the libraries."""
    # aiohttp runs on asyncio alone.
    name = "aiohttp_look_alike" if (request.param, anyio_backend_name) == ("aiohttp", "trio") else request.param
    library = LIBRARIES[name]
    return lambda path: library(file_server + path)
