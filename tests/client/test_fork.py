"""A client that was used before `os.fork`, as with gunicorn --preload, Celery or multiprocessing, goes on in each.

Parent and children have copies of the same sockets: what two of them write to one is read as one stream of requests.
"""

import json
import os
import re
import ssl
from collections import Counter

import pytest
from raw_server import certificate, read_head, serving

__all__ = ["certificate"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")

PROGRAM = """
import asyncio, os, sys, traceback, warnings
import httpx
from polyglot_async import AsyncPolyglot, ConfigurationError

warnings.simplefilter("ignore", DeprecationWarning)  # a thread that made the TLS context may be about to end
url, http_client, used_before = sys.argv[1:]
loop = asyncio.new_event_loop()
own = {"http_client": httpx.AsyncClient()} if http_client == "own" else {}
client = AsyncPolyglot("sk_test", base_url=url, **own)

async def call(who):
    task = await client.transcriptions.upload((f"{who}.mp3", f"recording of {who}.".encode()))
    ids = [task.task_id]
    for number in range(20):
        ids.append((await client.transcriptions.get(f"{who}-{number}")).task_id)
    assert ids == [who, *(f"{who}-{number}" for number in range(20))], ids

def in_child(who):
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        asyncio.run(call(who))
        code = 0
    except ConfigurationError as error:
        assert "used before os.fork: make a new one in the child" in str(error), error
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)

async def last_call():
    await call("the-parent-at-last")
    await client.aclose()
    for http in own.values():
        await http.aclose()

if used_before == "used":
    loop.run_until_complete(call("the-parent-first"))
children = [in_child(f"child-{number}") for number in range(3)]
loop.run_until_complete(call("the-parent"))
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
loop.run_until_complete(last_call())
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
"""


class Service:
    """Answers with an id that the request names, and counts the connections and what was uploaded."""

    def __init__(self):
        self.uploads = Counter()

    def __call__(self, sock):
        while data := read_head(sock):
            head, _, body = data.partition(b"\r\n\r\n")
            if head.startswith(b"POST "):
                length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
                while len(body) < length:
                    body += sock.recv(65536)
                task_id = re.search(rb"recording of ([\w-]+)\.", body)[1].decode()
                self.uploads[task_id] += 1
            else:
                task_id = re.match(rb"GET \S*/transcriptions/([\w-]+) ", head)[1].decode()
            answer = json.dumps({"task_id": task_id, "status": "queued"}).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


@pytest.fixture
def run(script, tmp_path):
    """Runs the program against a server; returns how its children ended."""

    def run(server, http_client, used):
        environment = dict(os.environ)
        if server.url.startswith("https"):
            (authority,) = server.verify.get_ca_certs(binary_form=True)
            trusted = tmp_path / "ca.pem"
            trusted.write_text(ssl.DER_cert_to_PEM_cert(authority))
            environment["SSL_CERT_FILE"] = str(trusted)
        running = script(PROGRAM, f"{server.url}/api/v1", http_client, used, env=environment)
        output, problems = running.communicate(timeout=60)
        assert (0, "") == (running.returncode, problems)
        return json.loads(output)

    return run


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_parent_and_children_use_connections_of_their_own(scheme, request, run):
    service = Service()
    with serving(service, request.getfixturevalue("certificate") if scheme == "https" else None) as server:
        assert [0, 0, 0] == run(server, "ours", "used")
        assert 1 + 3 == server.accepted, "the parent goes on with the connection that it had"
    whose = {"the-parent-first", "the-parent", "the-parent-at-last", *(f"child-{number}" for number in range(3))}
    assert dict.fromkeys(whose, 1) == service.uploads


@pytest.mark.parametrize(("used", "ends"), [("used", [2, 2, 2]), ("unused", [0, 0, 0])])
def test_over_a_client_of_the_callers_own_a_child_gets_an_error_and_sends_nothing(used, ends, run):
    """The connections of a client that is not ours cannot be left to the parent."""
    service = Service()
    with serving(service) as server:
        assert ends == run(server, "own", used)
    assert (ends == [0, 0, 0]) == any("child" in who for who in service.uploads)
    assert {1} == set(service.uploads.values())
